// Every type that has no kernel of its own: a piece of a row is decoded by the scalar reference, once for all
// tokens, and multiplied as floats with the same int8 activations that a kernel would take.

namespace ktd::KTD_ISA {
namespace {

constexpr int kPiece = 256;  // weights decoded at once: a multiple of every block

inline float dot_piece(const float* w, const ActQ8& x, int64_t at, int64_t count) {
  F total = set(0);
  for (int64_t i = 0; i < count; i += 32) {
    F group = set(0);
    for (int j = 0; j < 32; j += kF) group = fma(load(w + i + j), load_i8(x.q + at + i + j), group);
    total = fma(group, set(x.d[(at + i) / 32]), total);
  }
  return sum(total);
}

template <class Block>
void matmul_decoded(const Matmul& m) {
  alignas(64) float w[kPiece];
  for (int64_t r = 0; r < m.n_rows; ++r) {
    const auto* blocks = reinterpret_cast<const Block*>(m.rows + static_cast<size_t>(r) * m.row_bytes);
    for (int64_t t = 0; t < m.n_tokens; ++t) m.out[t * m.out_stride + r] = 0;
    for (int64_t at = 0; at < m.k; at += kPiece) {
      const int64_t count = m.k - at < kPiece ? m.k - at : kPiece;
      for (int64_t i = 0; i < count; i += Block::kWeights) decode(blocks[(at + i) / Block::kWeights], w + i);
      for (int64_t t = 0; t < m.n_tokens; ++t)
        m.out[t * m.out_stride + r] += dot_piece(w, ActQ8::at(activation(m, t), m.k), at, count);
    }
  }
}

}  // namespace
}  // namespace ktd::KTD_ISA
