// How a matmul is cut: groups of rows, and within a group tiles of tokens that share each unpacked weight.
// A Format gives `template <int R, int T> static void tile(const Matmul&, int64_t row, int64_t token)`;
// kSums, the sums of such a tile that its registers hold; and kRows, the most rows of a tile.

namespace ktd::KTD_ISA {
namespace {

constexpr int64_t kTokenBlock = 64;

// Rows of a tile of `tokens`: as many as keep all sums in registers.
constexpr int tile_rows(int tokens, int sums, int most) {
  int rows = most;
  while (rows > 1 && rows * tokens > sums) rows /= 2;
  return rows;
}

inline const std::byte* activation(const Matmul& m, int64_t token) {
  return m.acts + static_cast<size_t>(m.gather != nullptr ? m.gather[token] : token) * m.act_bytes;
}

// Rows [row, end) by `tokens` tokens from `token`, in tiles of T, then of half as many, and so on.
template <class Format, int T = kTokenTile>
void token_tiles(const Matmul& m, int64_t row, int64_t end, int64_t token, int64_t tokens) {
  constexpr int R = tile_rows(T, Format::kSums, Format::kRows);
  for (; tokens >= T; tokens -= T, token += T) {
    int64_t r = row;
    for (; r + R <= end; r += R) Format::template tile<R, T>(m, r, token);
    for (; r < end; ++r) Format::template tile<1, T>(m, r, token);
  }
  if constexpr (T > 1) token_tiles<Format, T / 2>(m, row, end, token, tokens);
}

template <class Format>
void matmul_block(const Matmul& m) {
  for (int64_t row = 0; row < m.n_rows; row += Format::kRows) {
    const int64_t end = row + Format::kRows < m.n_rows ? row + Format::kRows : m.n_rows;
    token_tiles<Format>(m, row, end, 0, m.n_tokens);
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
    float* out = m.out + (token + t.value) * m.out_stride + row;
    if constexpr (R == 4)
      store_sums(out, sums[0][t.value], sums[1][t.value], sums[2][t.value], sums[3][t.value]);
    else
      unroll<R>([&](auto r) KTD_INLINE { out[r.value] = sum(sums[r.value][t.value]); });
  });
}

}  // namespace
}  // namespace ktd::KTD_ISA
