/* math.h - C's, for kernel files: that of C++ brings all of <cmath>, a quarter of the
 * compiler's time for most of them.  Of C's functions none is chosen by the type of its
 * argument, as nvcc would: a float given to one of double does not compile
 * (-Wdouble-promotion). */
#define _GLIBCXX_INCLUDE_NEXT_C_HEADERS
#include_next <math.h>
#undef _GLIBCXX_INCLUDE_NEXT_C_HEADERS
