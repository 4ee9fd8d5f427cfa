// Super-blocks of 256 weights: small integer scales (and minima), themselves scaled by halves.
#pragma once

#include "weights.cuh"

namespace ktd {

struct Q2_K : Planes<256, 64, 16, 4> {
  static constexpr bool kHalves = true, kOffset = true;
  using Table = NoTable;

  DEVICE static Group open(const View<Q2_K>& view, int64_t group, const Table&) {
    const uint2 q = view.word<0, uint2>(group);
    const uint32_t nibbles = view.word<1, uint16_t>(group);  // per 16 weights: scale, then minimum
    const uint32_t dm = view.word<2, uint32_t>(group / kGroups);
    const float d = low_half(dm), least = -high_half(dm);
    Group out{.scale = {d * static_cast<float>(nibbles & 15u), d * static_cast<float>(nibbles >> 8 & 15u)},
              .offset = {least * static_cast<float>(nibbles >> 4 & 15u),
                         least * static_cast<float>(nibbles >> 12)}};
    open_codes<2>({q.x, q.y}, out);
    return out;
  }
};

struct Q3_K : Planes<256, 64, 32, 12, 2> {
  static constexpr bool kHalves = true, kOffset = true;
  using Table = NoTable;

  DEVICE static Group open(const View<Q3_K>& view, int64_t group, const Table&) {
    const uint2 q = view.word<0, uint2>(group);
    const int64_t block = group / kGroups;
    const int part = static_cast<int>(group % kGroups);
    const float d = half_to_float(view.word<3, uint16_t>(block));
    // Scales 2 part and 2 part + 1 of 16: nibbles of eight bytes, low ones first; two high bits in four more
    // bytes.
    const uint32_t low = view.word<2, uint32_t>(3 * block + part / 2 % 2) >> (part / 4 * 4);
    const uint32_t high = view.word<2, uint32_t>(3 * block + 2) >> (part / 2 * 2);
    Group out;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int byte = part % 2 * 2 + half;
      const uint32_t bits = (byte_of(low, byte) & 15u) | (byte_of(high, byte) & 3u) << 4;
      out.scale[half] = d * static_cast<float>(static_cast<int>(bits) - 32);
      out.offset[half] = -4.0f * out.scale[half];
    }
    open_codes<2, 1>({q.x, q.y}, {view.word<1, uint32_t>(group)}, out);
    return out;
  }
};

// The 16 bytes before the codes of Q4_K and Q5_K: halves d and dmin, then eight scales and minima of six
// bits. The first four of both have a byte each and lend its top two bits to the last four, whose nibbles
// share four bytes.
DEVICE Group scaled_with_minimum(uint4 head, int part) {
  const int shift = part % 4 * 8;
  const uint32_t first = head.y >> shift, second = head.z >> shift, shared = head.w >> shift;
  const uint32_t scale = part < 4 ? first & 63u : (shared & 15u) | (first >> 2 & 48u);
  const uint32_t minimum = part < 4 ? second & 63u : (shared >> 4 & 15u) | (second >> 2 & 48u);
  return {.scale = {low_half(head.x) * static_cast<float>(scale)},
          .offset = {-high_half(head.x) * static_cast<float>(minimum)}};
}

struct Q4_K : Planes<256, 128, 16> {
  static constexpr bool kHalves = false, kOffset = true;
  using Table = NoTable;

  DEVICE static Group open(const View<Q4_K>& view, int64_t group, const Table&) {
    const uint4 q = view.word<0, uint4>(group);
    Group out = scaled_with_minimum(view.word<1, uint4>(group / kGroups), static_cast<int>(group % kGroups));
    open_codes<4>({q.x, q.y, q.z, q.w}, out);
    return out;
  }
};

struct Q5_K : Planes<256, 128, 32, 16> {
  static constexpr bool kHalves = false, kOffset = true;
  using Table = NoTable;

  DEVICE static Group open(const View<Q5_K>& view, int64_t group, const Table&) {
    const uint4 q = view.word<0, uint4>(group);
    Group out = scaled_with_minimum(view.word<2, uint4>(group / kGroups), static_cast<int>(group % kGroups));
    open_codes<4, 1>({q.x, q.y, q.z, q.w}, {view.word<1, uint32_t>(group)}, out);
    return out;
  }
};

struct Q6_K : Planes<256, 128, 64, 16, 2> {
  static constexpr bool kHalves = true, kOffset = true;
  using Table = NoTable;

  DEVICE static Group open(const View<Q6_K>& view, int64_t group, const Table&) {
    const uint4 low = view.word<0, uint4>(group);
    const uint2 high = view.word<1, uint2>(group);
    const uint32_t scales = view.word<2, uint16_t>(group);
    const float d = half_to_float(view.word<3, uint16_t>(group / kGroups));
    Group out;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      out.scale[half] = d * static_cast<float>(static_cast<int8_t>(byte_of(scales, half)));
      out.offset[half] = -32.0f * out.scale[half];
    }
    open_codes<4, 2>({low.x, low.y, low.z, low.w}, {high.x, high.y}, out);
    return out;
  }
};

struct Q8_K : Planes<256, 256, 32, 4> {
  static constexpr bool kHalves = false, kOffset = false;
  using Table = NoTable;

  DEVICE static Group open(const View<Q8_K>& view, int64_t group, const Table&) {
    Group out{.scale = {view.word<2, float>(group / kGroups)}};
    open_bytes(view.word<0, uint4>(2 * group), view.word<0, uint4>(2 * group + 1), out);
    return out;
  }
};

}  // namespace ktd
