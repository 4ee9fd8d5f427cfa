// The codebooks of the IQ types: each entry packs one grid point, `bits` per coordinate, first coordinate
// lowest. codebooks.inc is written by tools/codebooks.py. Beside them, the forms that kernels take.
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

template <class T, int N>
struct Table {
  alignas(64) T at[N];
};

// Kernels raise weights by the largest of their type, so that those of either sign are unsigned bytes.
inline constexpr int kRaiseIQ2 = 43, kRaiseIQ3_XXS = 62, kRaiseIQ3_S = 15;

// The same points as bytes, first coordinate lowest: raised magnitudes; for IQ1 0, 8 or 16.
extern const Table<uint64_t, 256> kPointsIQ2_XXS;
extern const Table<uint64_t, 512> kPointsIQ2_XS;
extern const Table<uint64_t, 1024> kPointsIQ2_S;
extern const Table<uint32_t, 256> kPointsIQ3_XXS;
extern const Table<uint32_t, 512> kPointsIQ3_S;
extern const Table<uint64_t, 2048> kPointsIQ1;

// And the low, then the high bytes of the 3-bit grids, for byte permutes.
extern const Table<uint8_t, 2 * 256> kPlanesIQ3_XXS;
extern const Table<uint8_t, 2 * 512> kPlanesIQ3_S;

}  // namespace ktd
