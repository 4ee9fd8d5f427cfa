// Groups of 4 or 8 weights named by an index into a codebook, with signs apart.
#pragma once

#include "tables.cuh"
#include "weights.cuh"

namespace ktd {

// Four magnitudes with the signs of four bits. A complement is one less than a negative; no magnitude is
// zero, so adding one to some bytes never carries into the next.
DEVICE int with_signs(uint32_t magnitudes, uint32_t signs) {
  const uint32_t ones = (signs & 15u) * 0x00204081u & 0x01010101u;
  return static_cast<int>((magnitudes ^ ones * 255u) + ones);
}

// Seven sign bits and an eighth that makes their number even.
DEVICE uint32_t even_signs(uint32_t bits) {
  const uint32_t seven = bits & 127u;
  return seven | (__popc(seven) & 1u) << 7;
}

// Eight weights, `i` of four in a group: lanes 2 i and 2 i + 1.
DEVICE void set_eight(uint64_t magnitudes, uint32_t signs, int i, Group& group) {
  group.lanes[2 * i] = with_signs(static_cast<uint32_t>(magnitudes), signs);
  group.lanes[2 * i + 1] = with_signs(static_cast<uint32_t>(magnitudes >> 32), signs >> 4);
}

DEVICE float nibble_scale(float d, uint32_t nibble) {
  return d * (0.5f + static_cast<float>(nibble & 15u));
}

struct IQ2_XXS : Planes<256, 64, 2> {
  static constexpr bool kHalves = false, kOffset = false;
  using Table = Codebook<uint64_t, 256, kGridIQ2_XXS>;

  DEVICE static Group open(const View<IQ2_XXS>& view, int64_t group, const Table& table) {
    const uint2 q = view.word<0, uint2>(group);  // four indices; four times seven signs and, on top, a scale
    const float d = 0.25f * half_to_float(view.word<1, uint16_t>(group / kGroups));
    Group out{.scale = {nibble_scale(d, q.y >> 28)}};
#pragma unroll
    for (int i = 0; i < 4; ++i) set_eight(table[byte_of(q.x, i)], even_signs(q.y >> 7 * i), i, out);
    return out;
  }
};

struct IQ2_XS : Planes<256, 64, 8, 2> {
  static constexpr bool kHalves = true, kOffset = false;
  using Table = Codebook<uint64_t, 512, kGridIQ2_XS>;

  DEVICE static Group open(const View<IQ2_XS>& view, int64_t group, const Table& table) {
    const uint2 q = view.word<0, uint2>(group);  // four times nine bits of index and seven signs
    const uint32_t scales = view.word<1, uint8_t>(group);
    const float d = 0.25f * half_to_float(view.word<2, uint16_t>(group / kGroups));
    Group out{.scale = {nibble_scale(d, scales), nibble_scale(d, scales >> 4)}};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t word = (i < 2 ? q.x : q.y) >> 16 * (i % 2);
      set_eight(table[word & 511u], even_signs(word >> 9), i, out);
    }
    return out;
  }
};

struct IQ2_S : Planes<256, 64, 16, 2> {
  static constexpr bool kHalves = true, kOffset = false;
  using Table = Codebook<uint64_t, 1024, kGridIQ2_S>;

  DEVICE static Group open(const View<IQ2_S>& view, int64_t group, const Table& table) {
    const uint2 q = view.word<0, uint2>(group);           // four low index bytes, four bytes of signs
    const uint32_t more = view.word<1, uint16_t>(group);  // four times two high index bits, two scales
    const float d = 0.25f * half_to_float(view.word<2, uint16_t>(group / kGroups));
    Group out{.scale = {nibble_scale(d, more >> 8), nibble_scale(d, more >> 12)}};
#pragma unroll
    for (int i = 0; i < 4; ++i)
      set_eight(table[byte_of(q.x, i) | (more >> 2 * i & 3u) << 8], byte_of(q.y, i), i, out);
    return out;
  }
};

struct IQ3_XXS : Planes<256, 64, 32, 2> {
  static constexpr bool kHalves = false, kOffset = false;
  using Table = Codebook<uint32_t, 256, kGridIQ3_XXS>;

  DEVICE static Group open(const View<IQ3_XXS>& view, int64_t group, const Table& table) {
    const uint2 q = view.word<0, uint2>(group);           // an index per four weights
    const uint32_t more = view.word<1, uint32_t>(group);  // as in IQ2_XXS
    const float d = 0.5f * half_to_float(view.word<2, uint16_t>(group / kGroups));
    Group out{.scale = {nibble_scale(d, more >> 28)}};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t pair = (i < 2 ? q.x : q.y) >> 16 * (i % 2), signs = even_signs(more >> 7 * i);
      out.lanes[2 * i] = with_signs(table[pair & 255u], signs);
      out.lanes[2 * i + 1] = with_signs(table[pair >> 8 & 255u], signs >> 4);
    }
    return out;
  }
};

struct IQ3_S : Planes<256, 64, 32, 8, 4, 2> {
  static constexpr bool kHalves = false, kOffset = false;
  using Table = Codebook<uint32_t, 512, kGridIQ3_S>;

  DEVICE static Group open(const View<IQ3_S>& view, int64_t group, const Table& table) {
    const uint2 q = view.word<0, uint2>(group);  // low index bytes
    const uint32_t signs = view.word<1, uint32_t>(group), high = view.word<2, uint8_t>(group);
    const uint32_t scale = view.word<3, uint8_t>(group / 2) >> (group % 2 * 4) & 15u;
    const float d = half_to_float(view.word<4, uint16_t>(group / kGroups));
    Group out{.scale = {d * static_cast<float>(2u * scale + 1u)}};
#pragma unroll
    for (int lane = 0; lane < 8; ++lane) {
      const uint32_t index = byte_of(lane < 4 ? q.x : q.y, lane % 4) | (high >> lane & 1u) << 8;
      out.lanes[lane] = with_signs(table[index], signs >> 4 * lane);
    }
    return out;
  }
};

// IQ1 has values -1, 0 and 1, all of eight moved up or down by an eighth. The codebook keeps them as nibbles
// 0, 4 and 8 (low nibbles: weights 0-3); setting the lowest bit of each moves them up, so that a weight is
// scale * (nibble - 4.5) / 4.

DEVICE void set_ternary(uint32_t point, bool down, int i, Group& group) {
  point |= down ? 0u : 0x11111111u;
  group.lanes[2 * i] = static_cast<int>(point & 0x0f0f0f0fu);
  group.lanes[2 * i + 1] = static_cast<int>(point >> 4 & 0x0f0f0f0fu);
}

DEVICE void set_ternary_scale(float d, uint32_t bits, int half, Group& group) {
  group.scale[half] = 0.25f * d * static_cast<float>(2u * (bits & 7u) + 1u);
  group.offset[half] = -4.5f * group.scale[half];
}

struct IQ1_S : Planes<256, 32, 16, 2> {
  static constexpr bool kHalves = false, kOffset = true;
  using Table = Codebook<uint32_t, 2048, kGridIQ1>;

  DEVICE static Group open(const View<IQ1_S>& view, int64_t group, const Table& table) {
    const uint32_t q = view.word<0, uint32_t>(group);  // low index bytes
    const uint32_t more =
        view.word<1, uint16_t>(group);  // four times three high bits, a scale, the move's sign
    Group out;
    set_ternary_scale(half_to_float(view.word<2, uint16_t>(group / kGroups)), more >> 12, 0, out);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      set_ternary(table[byte_of(q, i) | (more >> 3 * i & 7u) << 8], more >> 15 != 0u, i, out);
    return out;
  }
};

struct IQ1_M : Planes<256, 32, 16, 8> {
  static constexpr bool kHalves = true, kOffset = true;
  using Table = Codebook<uint32_t, 2048, kGridIQ1>;

  DEVICE static Group open(const View<IQ1_M>& view, int64_t group, const Table& table) {
    const uint32_t q = view.word<0, uint32_t>(group);  // low index bytes
    const uint32_t more =
        view.word<1, uint16_t>(group);  // per eight weights: three high bits, the move's sign
    const uint2 scales =
        view.word<2, uint2>(group / kGroups);  // four 16-bit words: four scales and a nibble of d
    const int part = static_cast<int>(group % kGroups);
    const uint32_t nibbles =
        (scales.x >> 12 & 15u) | (scales.x >> 28) << 4 | (scales.y >> 12 & 15u) << 8 | (scales.y >> 28) << 12;
    const float d = half_to_float(static_cast<uint16_t>(nibbles));
    const uint32_t own = (part < 4 ? scales.x : scales.y) >> (part / 2 % 2 * 16 + part % 2 * 6);
    Group out;
    set_ternary_scale(d, own, 0, out);
    set_ternary_scale(d, own >> 3, 1, out);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t high = more >> 4 * i;
      set_ternary(table[byte_of(q, i) | (high & 7u) << 8], (high & 8u) != 0u, i, out);
    }
    return out;
  }
};

}  // namespace ktd
