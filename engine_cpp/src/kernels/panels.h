// Many tokens: panels of 16 weight rows are unpacked once to unsigned bytes, four columns of every row side
// by side, and multiplied with all tokens. A weight is scale * byte - minimum, per row and group of G
// weights; the minima meet the sums of the activations, so that a panel multiplies the numbers of the file
// and no others.
#pragma once

#include "kernels/table.h"

namespace ktd::KTD_ISA {

constexpr int kPanelRows = 16;
constexpr int kPanelWeights = 2048;  // of a row at once: two panels and a tile of activations fit in L2
// Tokens that pay for the turning: fewer are as fast in tiles of four.
constexpr int64_t kPanelsFrom = 12;

template <int G>
struct Panel {
  alignas(64) uint8_t bytes[kPanelWeights / 4][64];
  alignas(64) float scale[kPanelWeights / G][kPanelRows];
  alignas(64) float minimum[kPanelWeights / G][kPanelRows];
};

// Packs weights [begin, begin + n) of 16 rows.
template <int G>
using PackFn = void (*)(const std::byte* rows, size_t row_bytes, int64_t begin, int64_t n, Panel<G>& panel);

// 256 weights of 16 rows, each in the order of turned.inl, with the scales and minima of a row: those of a
// block of 32 in turn, or first the scales of all 16s and then their minima.
template <int G>
struct PanelChunk {
  alignas(64) uint8_t columns[4][kPanelRows][64];
  alignas(64) float numbers[32 / G][kPanelRows][kPanelRows];
};

// Brings the rows of a chunk side by side: weights [at, at + count) of the panel.
void turn_chunk(const PanelChunk<16>& chunk, int64_t at, int64_t count, Panel<16>& panel);
void turn_chunk(const PanelChunk<32>& chunk, int64_t at, int64_t count, Panel<32>& panel);

// `few`, and from kPanelsFrom tokens on, panels.
void matmul_few_or_many(const Matmul& m, MatmulFn few, PackFn<16> pack);
void matmul_few_or_many(const Matmul& m, MatmulFn few, PackFn<32> pack);

}  // namespace ktd::KTD_ISA
