// How a matmul is cut: groups of rows, and within a group tiles of tokens that share each unpacked weight.
// A Format gives `template <int R, int T> static void tile(const Matmul&, int64_t row, int64_t token)`, and
// kSums, the sums of such a tile that its registers hold.

namespace ktd::KTD_ISA {
namespace {

constexpr int kRowGroup = 4;
constexpr int64_t kTokenBlock = 64;

// Rows of a tile of `tokens`: as many as keep all sums in registers.
constexpr int tile_rows(int tokens, int sums) {
  int rows = kRowGroup;
  while (rows > 1 && rows * tokens > sums) rows /= 2;
  return rows;
}

inline const std::byte* activation(const Matmul& m, int64_t token) {
  return m.acts + static_cast<size_t>(m.gather != nullptr ? m.gather[token] : token) * m.act_bytes;
}

// Rows [row, end) by `tokens` tokens from `token`; finds the T that equals `tokens`.
template <class Format, int T = kTokenTile>
void token_tile(const Matmul& m, int64_t row, int64_t end, int64_t token, int64_t tokens) {
  if constexpr (T > 1) {
    if (tokens < T) return token_tile<Format, T - 1>(m, row, end, token, tokens);
  }
  constexpr int R = tile_rows(T, Format::kSums);
  for (; row + R <= end; row += R) Format::template tile<R, T>(m, row, token);
  for (; row < end; ++row) Format::template tile<1, T>(m, row, token);
}

template <class Format>
void matmul_block(const Matmul& m) {
  const int64_t tiles = (m.n_tokens + kTokenTile - 1) / kTokenTile;
  for (int64_t row = 0; row < m.n_rows; row += kRowGroup) {
    const int64_t end = row + kRowGroup < m.n_rows ? row + kRowGroup : m.n_rows;
    for (int64_t i = 0; i < tiles;
         ++i) {  // of equal size within one, so that none is left with a single token
      const int64_t begin = m.n_tokens * i / tiles;
      token_tile<Format>(m, row, end, begin, m.n_tokens * (i + 1) / tiles - begin);
    }
  }
}

// Tokens in blocks whose activations stay in L2.
template <class Format>
void matmul(const Matmul& m) {
  Matmul block = m;
  for (int64_t token = 0; token < m.n_tokens; token += kTokenBlock) {
    block.acts = m.gather != nullptr ? m.acts : m.acts + static_cast<size_t>(token) * m.act_bytes;
    block.gather = m.gather != nullptr ? m.gather + token : nullptr;
    block.n_tokens = m.n_tokens - token < kTokenBlock ? m.n_tokens - token : kTokenBlock;
    block.out = m.out + token * m.out_stride;
    matmul_block<Format>(block);
  }
}

template <int R, int T>
[[gnu::always_inline]] inline void store_sums(const Matmul& m, int64_t row, int64_t token,
                                              const F (&sums)[R][T]) {
  unroll<T>([&](auto t) KTD_INLINE {
    unroll<R>([&](auto r) KTD_INLINE {
      m.out[(token + t.value) * m.out_stride + row + r.value] = sum(sums[r.value][t.value]);
    });
  });
}

}  // namespace
}  // namespace ktd::KTD_ISA
