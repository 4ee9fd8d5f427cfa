// The tile of every format that takes int8 activations: it walks the row in chunks, unpacks each once and
// adds its products with each token.
//
// A Format (see legacy.inl, kquants.inl) gives
//   kWeights                           weights of a chunk
//   Chunk unpack(row, c)               chunk c of a weight row, ready to multiply
//   F add(acc, chunk, act, place)      acc + its products with an activation row
//   F add_last(acc, row, c, act, place)   where a row may end in less than a chunk (kTail)

namespace ktd::KTD_ISA {
namespace {

// Where chunk c of every activation row finds its planes, in bytes from the row.
struct Place {
  size_t q, d, s;

  Place(int64_t n, int64_t weight)
      : q(static_cast<size_t>(weight)),
        d(ActQ8::d_offset(n) + static_cast<size_t>(weight / 32) * sizeof(float)),
        s(ActQ8::s_offset(n) + static_cast<size_t>(weight / 16) * sizeof(float)) {}

  void advance(int weights) {
    q += weights;
    d += weights / 32 * sizeof(float);
    s += weights / 16 * sizeof(float);
  }
};

inline const float* floats(const std::byte* row, size_t offset) {
  return reinterpret_cast<const float*>(row + offset);
}

template <class Format, int R, int T>
void quantised_tile(const Matmul& m, int64_t row, int64_t token) {
  const std::byte* w[R];
  const std::byte* act[T];
  F sums[R][T];
  unroll<R>([&](auto r) {
    w[r.value] = m.rows + static_cast<size_t>(row + r.value) * m.row_bytes;
    unroll<T>([&](auto t) { sums[r.value][t.value] = set(0); });
  });
  unroll<T>([&](auto t) { act[t.value] = activation(m, token + t.value); });
  const int64_t chunks = m.k / Format::kWeights;
  Place place(m.k, 0);
  for (int64_t c = 0; c < chunks; ++c) {
    unroll<R>([&](auto r) {
      const auto chunk = Format::unpack(w[r.value], c);
      unroll<T>([&](auto t) {
        F& acc = sums[r.value][t.value];
        acc = Format::add(acc, chunk, act[t.value], place);
      });
    });
    place.advance(Format::kWeights);
  }
  if constexpr (Format::kTail) {
    if (m.k % Format::kWeights != 0) {
      unroll<R>([&](auto r) {
        unroll<T>([&](auto t) {
          F& acc = sums[r.value][t.value];
          acc = Format::add_last(acc, w[r.value], chunks, act[t.value], place);
        });
      });
    }
  }
  store_sums<R, T>(m, row, token, sums);
}

}  // namespace
}  // namespace ktd::KTD_ISA
