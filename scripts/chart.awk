# chart.awk - charts as SVG, from lines of text.  Run with LC_ALL=C and -F '\t'.
#
# Tab-separated; a word in front says what a line is, and numbers alone are a point:
#
#   lines TITLE XLABEL YLABEL [YMOST]   an SVG of curves begins; above YMOST it is cut off
#   line LABEL COLOUR DASH              a curve begins; a DASH of 1 draws dashes
#   X Y
#
#   bars TITLE UNIT                     an SVG of lying bars, each of parts, begins
#   part NAME COLOUR                    what the columns are
#   bar LABEL NOTE V1 V2 ...            NOTE stands behind the sum
#
#   file WIDTH                          puts the charts of one file below each other: goes first
#
# Each chart is an <svg> of its own, which a page can hold as it is.
function esc(s) {
    gsub(/&/, "\\&amp;", s); gsub(/</, "\\&lt;", s); gsub(/>/, "\\&gt;", s); gsub(/"/, "\\&quot;", s)
    return s
}

function text(x, y, s, more) {
    out = out sprintf("<text x=\"%.1f\" y=\"%.1f\"%s>%s</text>\n", x, y, more == "" ? "" : " " more, esc(s))
}

# 1, 2 or 5 times a power of ten: about `parts` of them in `span`.
function nice_step(span, parts,    power, d) {
    if (span <= 0) return 1
    power = exp(int(log(span / parts) / log(10) + 1000.0000001) * log(10) - 1000 * log(10))
    d = span / parts / power
    return power * (d < 1.5 ? 1 : d < 3.5 ? 2 : d < 7.5 ? 5 : 10)
}

function open_svg(height) {
    out = sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" " \
        "font-family=\"sans-serif\" font-size=\"13\" fill=\"#202020\">\n<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n",
        WIDTH, height, WIDTH, height, WIDTH, height)
}

function close_svg(height) {
    out = out "</svg>\n"
    if (!stacked) { printf "%s", out; return }
    sub(/<svg /, "<svg y=\"" below + 0 "\" ", out)
    all = all out
    below += height
}

# ---- curves ----

function px(v) { return LEFT + (v - x0) / (x1 - x0) * (RIGHT - LEFT) }
function py(v) { return BOTTOM - (v - y0) / (y1 - y0) * (BOTTOM - TOP) }

function ranges(    i) {
    x0 = y0 = 1e300; x1 = y1 = -1e300
    for (i = 1; i <= points; i++) {
        if (X[i] < x0) x0 = X[i]
        if (X[i] > x1) x1 = X[i]
        if (Y[i] < y0) y0 = Y[i]
        if (Y[i] > y1) y1 = Y[i]
    }
    if (!points) x0 = y0 = x1 = y1 = 0
    if (y_most != "" && y1 > y_most + 0 && y_most + 0 > y0) y1 = y_most + 0
    if (x1 <= x0) x1 = x0 + 1
    if (y1 <= y0) y1 = y0 + 1
    y0 -= 0.03 * (y1 - y0); y1 += 0.03 * (y1 - y0)
}

function axes(    v, step) {
    step = nice_step(y1 - y0, 6)
    for (v = int(y0 / step) * step; v <= y1; v += step) {
        if (v < y0) continue
        out = out sprintf("<path d=\"M%d %.1fH%d\" stroke=\"#e4e4e4\"/>\n", LEFT, py(v), RIGHT)
        text(LEFT - 8, py(v) + 4, sprintf("%.6g", v + step * 1e-9), "text-anchor=\"end\"")
    }
    step = nice_step(x1 - x0, 8)
    for (v = int(x0 / step) * step; v <= x1; v += step) {
        if (v < x0) continue
        text(px(v), BOTTOM + 18, sprintf("%.6g", v), "text-anchor=\"middle\"")
    }
    out = out sprintf("<path d=\"M%d %dV%dH%d\" fill=\"none\" stroke=\"#606060\"/>\n", LEFT, TOP, BOTTOM, RIGHT)
    text((LEFT + RIGHT) / 2, BOTTOM + 38, x_label, "text-anchor=\"middle\"")
    text(LEFT, TOP - 8, y_label)
}

function curve(k,    i, path) {
    for (i = first[k]; i < first[k] + count[k]; i++)
        path = path sprintf("%s%.1f %.1f", i == first[k] ? "M" : "L", px(X[i]) - LEFT, py(Y[i]) - TOP)
    if (path == "") return
    out = out sprintf("<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"%s\"%s><title>%s</title></path>\n", path,
        colour[k], dash[k] ? 1.8 : 2.2, dash[k] ? " stroke-dasharray=\"7 5\"" : "", esc(label[k]))
}

function end_lines(    k, legend, height) {
    LEFT = 64; RIGHT = WIDTH - 300; TOP = 48
    legend = TOP + 20 * curves
    BOTTOM = legend > 360 ? legend : 360
    height = BOTTOM + 52
    open_svg(height)
    ranges()
    text(LEFT, 20, title, "font-size=\"15\" font-weight=\"bold\"")
    axes()
    # an <svg> inside cuts off what leaves it
    out = out sprintf("<svg x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\">\n", LEFT, TOP, RIGHT - LEFT, BOTTOM - TOP)
    for (k = 1; k <= curves; k++) curve(k)
    out = out "</svg>\n"
    for (k = 1; k <= curves; k++) {
        out = out sprintf("<path d=\"M%d %dh26\" stroke=\"%s\" stroke-width=\"2.5\"%s/>\n", RIGHT + 16, TOP + 20 * k - 10,
            colour[k], dash[k] ? " stroke-dasharray=\"7 5\"" : "")
        text(RIGHT + 50, TOP + 20 * k - 6, label[k])
    }
    close_svg(height)
}

# ---- bars ----

function end_bars(    i, k, x, w, sum, most, height, y) {
    LEFT = 250; RIGHT = WIDTH - 190; TOP = 62
    height = TOP + 28 * n_bars + 12
    open_svg(height)
    text(16, 20, title, "font-size=\"15\" font-weight=\"bold\"")
    x = LEFT
    for (k = 1; k <= parts; k++) {
        out = out sprintf("<rect x=\"%d\" y=\"34\" width=\"12\" height=\"12\" fill=\"%s\"/>\n", x, part_colour[k])
        text(x + 17, 45, part[k])
        x += 34 + 7.2 * length(part[k])
    }
    for (i = 1; i <= n_bars; i++) {
        sum = 0
        for (k = 1; k <= parts; k++) sum += value[i, k]
        if (sum > most) most = sum
    }
    for (i = 1; i <= n_bars; i++) {
        x = LEFT; y = TOP + 28 * (i - 1); sum = 0
        text(LEFT - 10, y + 15, bar_label[i], "text-anchor=\"end\"")
        for (k = 1; k <= parts; k++) {
            w = most > 0 ? value[i, k] / most * (RIGHT - LEFT) : 0
            sum += value[i, k]
            if (w > 0)
                out = out sprintf("<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"21\" fill=\"%s\"><title>%s: %.4g %s</title></rect>\n",
                    x, y, w, part_colour[k], esc(part[k]), value[i, k], unit)
            x += w
        }
        text(x + 8, y + 15, sprintf("%.4g %s%s", sum, unit, bar_note[i] == "" ? "" : "  " bar_note[i]))
    }
    close_svg(height)
}

function end_chart() {
    if (kind == "lines") end_lines()
    if (kind == "bars") end_bars()
    kind = ""
    curves = points = parts = n_bars = 0
}

BEGIN { WIDTH = 1000 }
$1 == "file" { stacked = 1; if ($2 > 0) WIDTH = $2; next }
$1 == "lines" { end_chart(); kind = $1; title = $2; x_label = $3; y_label = $4; y_most = $5; next }
$1 == "bars" { end_chart(); kind = $1; title = $2; unit = $3; next }
$1 == "line" { curves++; label[curves] = $2; colour[curves] = $3; dash[curves] = $4; first[curves] = points + 1; count[curves] = 0; next }
$1 == "part" { parts++; part[parts] = $2; part_colour[parts] = $3; next }
$1 == "bar" {
    n_bars++
    bar_label[n_bars] = $2
    bar_note[n_bars] = $3
    for (i = 4; i <= NF; i++) value[n_bars, i - 3] = $i
    next
}
NF >= 2 && curves { points++; X[points] = $1 + 0; Y[points] = $2 + 0; count[curves]++ }
END {
    end_chart()
    if (stacked)
        printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n%s</svg>\n", WIDTH,
            below, WIDTH, below, all
}
