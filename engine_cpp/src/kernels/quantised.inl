// The tile of every format that takes int8 activations: it walks the row by 256 weights, unpacks each vector
// of them once and adds its products with each token.
//
// A Format (see legacy.inl, kquants.inl) gives
//   Block                     of the file
//   Chunk open(blocks)        256 weights of a row: where they are, and their scales
//   Eight or Sixteen scale(chunk, d)   the factors of their integer products with an activation of scales d
//   F offset(acc, chunk, s)   acc less what the unpacked weights are too high, times the activation sums s
//   weight<V>(chunk)          the V-th Bytes of them, ready for dot()
//   F spread<V>(scale)        the V-th factors

namespace ktd::KTD_ISA {
namespace {

constexpr int kChunk = 256;
constexpr int kVectors = kChunk / kBytes;

// Where a chunk finds its planes in every activation row, in bytes from the row.
struct Place {
  size_t q, d, s;

  explicit Place(int64_t n) : q(0), d(ActQ8::d_offset(n)), s(ActQ8::s_offset(n)) {}
  void advance() {
    q += kChunk;
    d += kChunk / 32 * sizeof(float);
    s += kChunk / 16 * sizeof(float);
  }
};

template <class Format, int T>
[[gnu::always_inline]] inline void add_chunk(F (&sums)[T], const std::byte* blocks,
                                             const std::byte* const (&act)[T], const Place& at) {
  const auto chunk = Format::open(reinterpret_cast<const typename Format::Block*>(blocks));
  decltype(Format::scale(chunk, nullptr)) scale[T];
  unroll<T>([&](auto t) KTD_INLINE {
    scale[t.value] = Format::scale(chunk, reinterpret_cast<const float*>(act[t.value] + at.d));
    sums[t.value] = Format::offset(sums[t.value], chunk, reinterpret_cast<const float*>(act[t.value] + at.s));
  });
  unroll<kVectors>([&](auto v) KTD_INLINE {
    const auto weight = Format::template weight<v.value>(chunk);
    unroll<T>([&](auto t) KTD_INLINE {
      const F products = to_float(dot(weight, load_bytes(act[t.value] + at.q + v.value * kBytes)));
      sums[t.value] = fma(products, Format::template spread<v.value>(scale[t.value]), sums[t.value]);
    });
  });
}

template <class Format, int R, int T>
void quantised_tile(const Matmul& m, int64_t row, int64_t token) {
  constexpr size_t kBlockBytes = sizeof(typename Format::Block);
  constexpr size_t kChunkBytes = kChunk / Format::Block::kWeights * kBlockBytes;
  const std::byte* w[R];
  const std::byte* act[T];
  F sums[R][T];
  unroll<R>([&](auto r) KTD_INLINE {
    w[r.value] = m.rows + static_cast<size_t>(row + r.value) * m.row_bytes;
    unroll<T>([&](auto t) KTD_INLINE { sums[r.value][t.value] = set(0); });
  });
  unroll<T>([&](auto t) KTD_INLINE { act[t.value] = activation(m, token + t.value); });
  Place at(m.k);
  const size_t ahead = row + R < m.n_rows ? R * m.row_bytes : 0;  // the same place in the next group of rows
  for (int64_t c = m.k / kChunk; c > 0; --c) {
    unroll<R>([&](auto r) KTD_INLINE {
      prefetch<kChunkBytes>(w[r.value] + ahead);
      add_chunk<Format, T>(sums[r.value], w[r.value], act, at);
      w[r.value] += kChunkBytes;
    });
    at.advance();
  }
  // What is left of a row of small blocks, with zeros behind it; the activation planes end in zeros too.
  if (const auto left = static_cast<size_t>(m.k % kChunk / Format::Block::kWeights); left != 0) {
    unroll<R>([&](auto r) KTD_INLINE {
      std::byte blocks[kChunkBytes] = {};
      __builtin_memcpy(blocks, w[r.value], left * kBlockBytes);
      add_chunk<Format, T>(sums[r.value], blocks, act, at);
    });
  }
  store_sums<R, T>(m, row, token, sums);
}

template <class Format>
struct QuantisedRows {
  static constexpr int kSums = kIntegerSums;

  template <int R, int T>
  static void tile(const Matmul& m, int64_t row, int64_t token) {
    quantised_tile<Format, R, T>(m, row, token);
  }
};

}  // namespace
}  // namespace ktd::KTD_ISA
