// The GGUF tensor types and one table row for each: everything else reads the row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ktd {

// Numbers as GGUF spells them.
enum class TensorType : uint32_t {
  F32 = 0,
  F16 = 1,
  Q4_0 = 2,
  Q4_1 = 3,
  Q5_0 = 6,
  Q5_1 = 7,
  Q8_0 = 8,
  Q8_1 = 9,
  Q2_K = 10,
  Q3_K = 11,
  Q4_K = 12,
  Q5_K = 13,
  Q6_K = 14,
  Q8_K = 15,
  IQ2_XXS = 16,
  IQ2_XS = 17,
  IQ3_XXS = 18,
  IQ1_S = 19,
  IQ4_NL = 20,
  IQ3_S = 21,
  IQ2_S = 22,
  IQ4_XS = 23,
  IQ1_M = 29,
  BF16 = 30,
  TQ1_0 = 34,
  TQ2_0 = 35,
  MXFP4 = 39,
  NVFP4 = 40,
  Q1_0 = 41,
  Q2_0 = 42,
};
inline constexpr size_t kTypeSlots = 43;

// How the activation side of a dot product is stored for a weight type.
//   F32: float x[n]
//   Q8:  int8 with a float scale per 32, see quant/activation.h
enum class ActFormat : uint8_t { F32, Q8 };

struct TypeTraits {
  TensorType type;
  const char* name;
  int64_t block;                                                        // weights per block
  int64_t bytes;                                                        // bytes per block
  ActFormat act;                                                        // what its dot takes
  void (*dequantize)(const std::byte* src, float* dst, int64_t n);      // scalar truth, n weights
  float (*dot)(const std::byte* row, const std::byte* act, int64_t n);  // scalar truth, act in `act` format

  size_t row_bytes(int64_t n) const { return static_cast<size_t>(n / block * bytes); }
};

// The row of a type, or null when the number names none (removed or unknown).
const TypeTraits* find_traits(uint32_t type);
std::span<const TypeTraits* const> all_traits();

}  // namespace ktd
