// Panels of types without a kernel of their own: decoded by the scalar reference and rounded to bytes, per
// group of 32. The rounding is at most 1/254 of the group's largest weight.

namespace ktd::KTD_ISA {
namespace {

// Of one row: 256 weights to bytes, scales and minima.
template <class Block>
void round_decoded(const Block* blocks, int64_t count, uint8_t* bytes, float* scale, float* minimum) {
  float w[256];
  for (int64_t i = 0; i < count; i += Block::kWeights) decode(blocks[i / Block::kWeights], w + i);
  for (int64_t g = 0; g < count / 32; ++g) {
    float most = 0;
    for (int i = 0; i < 32; ++i) most = __builtin_fmaxf(most, __builtin_fabsf(w[32 * g + i]));
    const float up = most > 0 ? 127 / most : 0;
    for (int i = 0; i < 32; ++i)
      bytes[32 * g + i] = static_cast<uint8_t>(static_cast<int>(w[32 * g + i] * up + 128.5f));
    scale[g] = most / 127;
    minimum[g] = 128 * scale[g];
  }
}

// Weights [begin, begin + n) of 16 rows.
template <class Block>
void pack_decoded(const std::byte* rows, size_t row_bytes, int64_t begin, int64_t n, Panel<32>& panel) {
  alignas(64) uint8_t bytes[kPanelRows][256], turned[kPanelRows][64];
  for (int64_t at = 0; at < n; at += 256) {
    const int64_t count = n - at < 256 ? n - at : 256;
    for (int r = 0; r < kPanelRows; ++r) {
      float scale[8], minimum[8];
      round_decoded(reinterpret_cast<const Block*>(rows + static_cast<size_t>(r) * row_bytes) +
                        (begin + at) / Block::kWeights,
                    count, bytes[r], scale, minimum);
      for (int64_t g = 0; g < count / 32; ++g) {
        panel.scale[at / 32 + g][r] = scale[g];
        panel.minimum[at / 32 + g][r] = minimum[g];
      }
    }
    for (int64_t i = 0; i < count; i += 64) {
      turn(bytes[0] + i, sizeof bytes[0], turned);
      const int64_t lanes = count - i < 64 ? 8 : 16;  // a row may end with half a turn
      for (int64_t j = 0; j < lanes; ++j) store_bytes(panel.bytes[(at + i) / 4 + j], load_bytes(turned[j]));
    }
  }
}

}  // namespace
}  // namespace ktd::KTD_ISA
