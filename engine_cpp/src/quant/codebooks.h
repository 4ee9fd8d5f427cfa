// The codebooks of the IQ types: each entry packs one grid point, `bits` per coordinate, first coordinate
// lowest. codebooks.inc is written by tools/codebooks.py.
#pragma once

#include <cstdint>

namespace ktd {

// 8 coordinates of 2 bits: indices into {8, 25, 43}.
extern const uint16_t kGridIQ2_XXS[256];
extern const uint16_t kGridIQ2_XS[512];
extern const uint16_t kGridIQ2_S[1024];
// 4 coordinates of 3 bits: indices into {4, 12, 20, 28, 36, 44, 52, 62} and {1, 3, 5, ... 15}.
extern const uint16_t kGridIQ3_XXS[256];
extern const uint16_t kGridIQ3_S[512];
// 8 coordinates of 2 bits: indices into {-1, 0, 1}; IQ1_S and IQ1_M.
extern const uint16_t kGridIQ1[2048];

}  // namespace ktd
