#include "quant/codebooks.h"

namespace ktd {

#include "quant/codebooks.inc"

namespace {

constexpr int kMagnitudes2[4] = {8, 25, 43, -kRaiseIQ2};  // no grid point uses the fourth
constexpr int kMagnitudes3[8] = {4, 12, 20, 28, 36, 44, 52, 62};
constexpr int kMagnitudes3S[8] = {1, 3, 5, 7, 9, 11, 13, 15};
constexpr int kEighths[4] = {0, 8, 16, 0};

// Each point of `grid` as bytes: a coordinate of `bits` names one of `values`.
template <class Point, int N>
consteval Table<Point, N> points(const uint16_t (&grid)[N], int bits, const int* values, int raise) {
  Table<Point, N> table{};
  for (int n = 0; n < N; ++n)
    for (unsigned i = 0; i < sizeof(Point); ++i) {
      const int value = values[grid[n] >> (bits * static_cast<int>(i)) & ((1 << bits) - 1)];
      table.at[n] |= static_cast<Point>(value + raise) << (8 * i);
    }
  return table;
}

template <int N>
consteval Table<uint8_t, 2 * N> planes(const uint16_t (&grid)[N]) {
  Table<uint8_t, 2 * N> table{};
  for (int n = 0; n < N; ++n) {
    table.at[n] = static_cast<uint8_t>(grid[n] & 255);
    table.at[N + n] = static_cast<uint8_t>(grid[n] >> 8);
  }
  return table;
}

}  // namespace

constexpr Table<uint64_t, 256> kPointsIQ2_XXS = points<uint64_t>(kGridIQ2_XXS, 2, kMagnitudes2, kRaiseIQ2);
constexpr Table<uint64_t, 512> kPointsIQ2_XS = points<uint64_t>(kGridIQ2_XS, 2, kMagnitudes2, kRaiseIQ2);
constexpr Table<uint64_t, 1024> kPointsIQ2_S = points<uint64_t>(kGridIQ2_S, 2, kMagnitudes2, kRaiseIQ2);
constexpr Table<uint32_t, 256> kPointsIQ3_XXS =
    points<uint32_t>(kGridIQ3_XXS, 3, kMagnitudes3, kRaiseIQ3_XXS);
constexpr Table<uint32_t, 512> kPointsIQ3_S = points<uint32_t>(kGridIQ3_S, 3, kMagnitudes3S, kRaiseIQ3_S);
constexpr Table<uint64_t, 2048> kPointsIQ1 = points<uint64_t>(kGridIQ1, 2, kEighths, 0);
constexpr Table<uint8_t, 2 * 256> kPlanesIQ3_XXS = planes(kGridIQ3_XXS);
constexpr Table<uint8_t, 2 * 512> kPlanesIQ3_S = planes(kGridIQ3_S);

}  // namespace ktd
