// Weights as floats or bf16.
#pragma once

#include "types.cuh"

namespace ktd {

// The value of weight `index` of a group; what products compute with.
template <class Type>
DEVICE float value_of(const Group& group, int index) {
  const int half = Type::kHalves ? index / 16 : 0;
  const float code = static_cast<float>(static_cast<int8_t>(group.lanes[index / 4] >> 8 * (index % 4)));
  return Type::kOffset ? fmaf(group.scale[half], code, group.offset[half]) : group.scale[half] * code;
}

// A group as 16 words of two bf16 each.
template <class Type>
DEVICE void to_bf16(const Group& group, uint4* out) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    uint32_t words[4];
#pragma unroll
    for (int j = 0; j < 4; ++j)
      words[j] = bf16_pair(value_of<Type>(group, 8 * i + 2 * j), value_of<Type>(group, 8 * i + 2 * j + 1));
    out[i] = {words[0], words[1], words[2], words[3]};
  }
}

constexpr int kDequantiseThreads = 256;

// A thread per group: `groups` groups from group `first` of the matrix on.
template <class Type>
__global__ void __launch_bounds__(kDequantiseThreads)
    dequantise(const uint8_t* weights, int64_t blocks, int64_t first, int64_t groups, float* floats,
               uint16_t* bf16) {
  __shared__ typename Type::Table table;
  table.fill();
  const int64_t step = int64_t{gridDim.x} * kDequantiseThreads;
  for (int64_t g = blockIdx.x * int64_t{kDequantiseThreads} + threadIdx.x; g < groups; g += step) {
    const Group group = Type::open(View<Type>{weights, blocks}, first + g, table);
    if (bf16) to_bf16<Type>(group, reinterpret_cast<uint4*>(bf16) + 4 * g);
    if (!floats) continue;
#pragma unroll
    for (int i = 0; i < 32; ++i) floats[32 * g + i] = value_of<Type>(group, i);
  }
}

}  // namespace ktd
