// What every weight type gives to the kernels: `open` turns 32 weights of its planes into a Group.
//
// A type is a struct with
//   Planes<weights of a block, bytes of a block in each plane...>   as in planes.py
//   kHalves    each 16 of 32 weights have a scale of their own
//   kOffset    weights are scale * code + offset, not just scale * code
//   Table      its codebook in shared memory, or NoTable
//   open       (view, group, table) -> Group; `group` counts 32s of weights from the matrix' first
#pragma once

#include "simt.cuh"

namespace ktd {

// Weight 4 l + i of 32 is scale * (byte i of lanes[l], signed) + offset, with scale[l / 4] and offset[l / 4].
// Types without kHalves set scale[0] and offset[0] only; those without kOffset no offset.
struct Group {
  int lanes[8];
  float scale[2];
  float offset[2];
};

template <int kWeightsOfBlock, int... kSizes>
struct Planes {
  static constexpr int kWeights = kWeightsOfBlock;
  static constexpr int kGroups = kWeights / 32;

  // Bytes of a block that lie in the planes before this one.
  DEVICE static constexpr int before(int plane) {
    const int sizes[] = {kSizes...};
    int sum = 0;
    for (int i = 0; i < plane; ++i) sum += sizes[i];
    return sum;
  }
};

template <class Type>
struct View {
  const uint8_t* base;
  int64_t blocks;  // of the whole matrix

  // Word `index` of a plane.
  template <int kPlane, class Word>
  DEVICE Word word(int64_t index) const {
    return __ldg(reinterpret_cast<const Word*>(base + blocks * Type::before(kPlane)) + index);
  }
};

struct NoTable {
  DEVICE void fill() {}
};

// A codebook, copied to shared memory by all threads of a block.
template <class Word, int kSize, const Word (&kFrom)[kSize]>
struct Codebook {
  Word words[kSize];

  DEVICE void fill() {
    for (int i = threadIdx.x; i < kSize; i += blockDim.x) words[i] = kFrom[i];
    __syncthreads();
  }
  DEVICE Word operator[](uint32_t index) const { return words[index]; }
};

// The tables of two types, which may be one.
template <class First, class Second>
struct Tables {
  typename First::Table first;
  typename Second::Table second_table;

  DEVICE void fill() {
    first.fill();
    second_table.fill();
  }
  DEVICE const typename Second::Table& second() const { return second_table; }
};

template <class Type>
struct Tables<Type, Type> {
  typename Type::Table first;

  DEVICE void fill() { first.fill(); }
  DEVICE const typename Type::Table& second() const { return first; }
};

// Four weights out of the words of a plane of `kBits` bits.
template <int kBits>
DEVICE uint32_t codes(const uint32_t (&words)[kBits], int lane) {
  constexpr uint32_t kMask = 0x01010101u * ((1u << kBits) - 1u);
  return words[lane % kBits] >> kBits * (lane / kBits) & kMask;
}

// A group of unsigned codes: `low` bits from one plane and, above them, `high` bits from another.
template <int kLow>
DEVICE void open_codes(const uint32_t (&low)[kLow], Group& group) {
#pragma unroll
  for (int lane = 0; lane < 8; ++lane) group.lanes[lane] = static_cast<int>(codes<kLow>(low, lane));
}

template <int kLow, int kHigh>
DEVICE void open_codes(const uint32_t (&low)[kLow], const uint32_t (&high)[kHigh], Group& group) {
#pragma unroll
  for (int lane = 0; lane < 8; ++lane)
    group.lanes[lane] = static_cast<int>(codes<kLow>(low, lane) | codes<kHigh>(high, lane) << kLow);
}

// 32 signed bytes, from two words of 16 bytes.
DEVICE void open_bytes(uint4 first, uint4 second, Group& group) {
  const uint32_t words[8] = {first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w};
#pragma unroll
  for (int lane = 0; lane < 8; ++lane) group.lanes[lane] = static_cast<int>(words[lane]);
}

DEVICE uint32_t byte_of(uint32_t word, int index) {
  return word >> 8 * index & 255u;
}

DEVICE float low_half(uint32_t word) {
  return half_to_float(static_cast<uint16_t>(word));
}

DEVICE float high_half(uint32_t word) {
  return half_to_float(static_cast<uint16_t>(word >> 16));
}

}  // namespace ktd
