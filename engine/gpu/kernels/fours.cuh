// Four bits a weight that index a fixed table of 16 values.
#pragma once

#include "tables.cuh"
#include "weights.cuh"

namespace ktd {

// The values at the eight nibbles of a word: of low nibbles in `low`, of high ones in `high`, in the order of
// the bytes. A byte permute looks eight values up by three bits; a second one picks by the fourth.
DEVICE void look_up(const uint32_t (&values)[4], uint32_t nibbles, int& low, int& high) {
  uint32_t found[2];  // nibbles 0-3 and 4-7 of the word
#pragma unroll
  for (int i = 0; i < 2; ++i, nibbles >>= 16) {
    const uint32_t index = nibbles & 0x7777u, top = nibbles >> 1 & 0x4444u;
    const uint32_t lower = __byte_perm(values[0], values[1], index),
                   upper = __byte_perm(values[2], values[3], index);
    found[i] = __byte_perm(lower, upper, 0x3210u | top);
  }
  low = static_cast<int>(__byte_perm(found[0], found[1], 0x6420u));
  high = static_cast<int>(__byte_perm(found[0], found[1], 0x7531u));
}

DEVICE void open_values(const uint32_t (&values)[4], uint4 q, Group& group) {
  const uint32_t words[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) look_up(values, words[i], group.lanes[i], group.lanes[i + 4]);
}

struct IQ4_NL : Planes<32, 16, 2> {
  static constexpr bool kHalves = false, kOffset = false;
  using Table = NoTable;

  DEVICE static Group open(const View<IQ4_NL>& view, int64_t group, const Table&) {
    Group out{.scale = {half_to_float(view.word<1, uint16_t>(group))}};
    open_values(kValuesIQ4, view.word<0, uint4>(group), out);
    return out;
  }
};

struct IQ4_XS : Planes<256, 128, 8> {
  static constexpr bool kHalves = false, kOffset = false;
  using Table = NoTable;

  DEVICE static Group open(const View<IQ4_XS>& view, int64_t group, const Table&) {
    const uint2 head = view.word<1, uint2>(group / kGroups);  // d, high bits of the scales; their nibbles
    const int part = static_cast<int>(group % kGroups);
    const uint32_t bits = (head.y >> 4 * part & 15u) | (head.x >> (16 + 2 * part) & 3u) << 4;
    Group out{.scale = {low_half(head.x) * static_cast<float>(static_cast<int>(bits) - 32)}};
    open_values(kValuesIQ4, view.word<0, uint4>(group), out);
    return out;
  }
};

// The values of E2M1 are doubled in the table, so that all are whole; scales are halved to match.

struct MXFP4 : Planes<32, 16, 1> {
  static constexpr bool kHalves = false, kOffset = false;
  using Table = NoTable;

  // Half of 2^(e - 127); the two smallest are subnormal floats.
  DEVICE static float half_e8m0(uint32_t e) {
    return __uint_as_float(e < 2u ? 0x00200000u << e : (e - 1u) << 23);
  }
  DEVICE static Group open(const View<MXFP4>& view, int64_t group, const Table&) {
    Group out{.scale = {half_e8m0(view.word<1, uint8_t>(group))}};
    open_values(kValuesE2M1, view.word<0, uint4>(group), out);
    return out;
  }
};

struct NVFP4 : Planes<64, 32, 4> {
  static constexpr bool kHalves = true, kOffset = false;
  using Table = NoTable;

  // Half of an unsigned E4M3 with bias 7. 0x7f is its NaN, taken as 0 as writers of these files do.
  DEVICE static float half_ue4m3(uint32_t x) {
    if (x == 0x7fu) return 0.0f;
    const int exponent = static_cast<int>(x >> 3 & 15u);
    const float mantissa = static_cast<float>(x & 7u);
    if (exponent == 0) return mantissa * 0x1p-10f;
    return (8.0f + mantissa) * __uint_as_float(static_cast<uint32_t>(exponent - 11 + 127) << 23);
  }
  DEVICE static Group open(const View<NVFP4>& view, int64_t group, const Table&) {
    const uint32_t scales = view.word<1, uint16_t>(group);
    Group out{.scale = {half_ue4m3(byte_of(scales, 0)), half_ue4m3(byte_of(scales, 1))}};
    open_values(kValuesE2M1, view.word<0, uint4>(group), out);
    return out;
  }
};

}  // namespace ktd
