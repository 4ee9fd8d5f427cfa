// One row per tensor type.
#include <algorithm>
#include <array>
#include <cassert>

#include "quant/activation.h"
#include "quant/ref/decode.h"
#include "quant/type.h"

namespace ktd {
namespace {

template <class Block>
void dequantize(const std::byte* src, float* dst, int64_t n) {
  const auto* blocks = reinterpret_cast<const Block*>(src);
  if constexpr (Block::kWeights == 1) {
    decode(blocks, dst, n);
  } else {
    assert(n % Block::kWeights == 0);
    for (int64_t i = 0; i < n / Block::kWeights; ++i) decode(blocks[i], dst + i * Block::kWeights);
  }
}

// Weights are decoded this many at a time: a multiple of every block.
constexpr int64_t kPiece = 256;

template <class Block>
float dot_f32(const std::byte* row, const std::byte* act, int64_t n) {
  const auto* x = reinterpret_cast<const float*>(act);
  std::array<float, kPiece> w;
  double sum = 0;
  for (int64_t at = 0; at < n; at += kPiece) {
    const int64_t count = std::min(kPiece, n - at);
    dequantize<Block>(row + at / Block::kWeights * sizeof(Block), w.data(), count);
    for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(w[i]) * x[at + i];
  }
  return static_cast<float>(sum);
}

template <class Block>
float dot_q8(const std::byte* row, const std::byte* act, int64_t n) {
  const ActQ8 x = ActQ8::at(act, n);
  std::array<float, kPiece> w;
  double sum = 0;
  for (int64_t at = 0; at < n; at += kPiece) {
    const int64_t count = std::min(kPiece, n - at);
    dequantize<Block>(row + at / Block::kWeights * sizeof(Block), w.data(), count);
    for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(w[i]) * x.d[(at + i) / 32] * x.q[at + i];
  }
  return static_cast<float>(sum);
}

template <class Block>
constexpr TypeTraits row(TensorType type, const char* name) {
  constexpr bool whole = Block::kWeights == 1;
  return {.type = type,
          .name = name,
          .block = Block::kWeights,
          .bytes = sizeof(Block),
          .act = whole ? ActFormat::F32 : ActFormat::Q8,
          .dequantize = dequantize<Block>,
          .dot = whole ? dot_f32<Block> : dot_q8<Block>};
}

#define KTD_ROW(type) row<Block##type>(TensorType::type, #type)
constexpr TypeTraits kTraits[] = {
    KTD_ROW(F32),    KTD_ROW(F16),   KTD_ROW(Q4_0),    KTD_ROW(Q4_1),   KTD_ROW(Q5_0),    KTD_ROW(Q5_1),
    KTD_ROW(Q8_0),   KTD_ROW(Q8_1),  KTD_ROW(Q2_K),    KTD_ROW(Q3_K),   KTD_ROW(Q4_K),    KTD_ROW(Q5_K),
    KTD_ROW(Q6_K),   KTD_ROW(Q8_K),  KTD_ROW(IQ2_XXS), KTD_ROW(IQ2_XS), KTD_ROW(IQ3_XXS), KTD_ROW(IQ1_S),
    KTD_ROW(IQ4_NL), KTD_ROW(IQ3_S), KTD_ROW(IQ2_S),   KTD_ROW(IQ4_XS), KTD_ROW(IQ1_M),   KTD_ROW(BF16),
    KTD_ROW(TQ1_0),  KTD_ROW(TQ2_0), KTD_ROW(MXFP4),   KTD_ROW(NVFP4),  KTD_ROW(Q1_0),    KTD_ROW(Q2_0),
};
#undef KTD_ROW

constexpr size_t kTypes = std::size(kTraits);

constexpr std::array<const TypeTraits*, kTypeSlots> kByNumber = [] {
  std::array<const TypeTraits*, kTypeSlots> slots{};
  for (const TypeTraits& t : kTraits) slots[static_cast<size_t>(t.type)] = &t;
  return slots;
}();

constexpr std::array<const TypeTraits*, kTypes> kAll = [] {
  std::array<const TypeTraits*, kTypes> all{};
  for (size_t i = 0; i < kTypes; ++i) all[i] = &kTraits[i];
  return all;
}();

}  // namespace

const TypeTraits* find_traits(uint32_t type) {
  return type < kTypeSlots ? kByNumber[type] : nullptr;
}

std::span<const TypeTraits* const> all_traits() {
  return kAll;
}

}  // namespace ktd
