// The products of panels.h, alike for all types.

namespace ktd::KTD_ISA {
namespace {

// What a tile of tokens brings: where their planes are, and their sums per group.
template <int G>
struct PanelTokens {
  const int8_t* q[kPanelTokens];
  const float* d[kPanelTokens];
  float sums[kPanelTokens][kPanelWeights / G];

  void take(const Matmul& m, int64_t token, int tokens, int64_t begin, int64_t n) {
    for (int t = 0; t < tokens; ++t) {
      const ActQ8 act = ActQ8::at(activation(m, token + t), m.k);
      q[t] = act.q + begin;
      d[t] = act.d + begin / 32;
      const float* s = act.s + begin / 16;
      for (int64_t g = 0; g < n / G; ++g) sums[t][g] = G == 32 ? s[2 * g] + s[2 * g + 1] : s[g];
    }
  }
};

// One panel by T tokens, added to `out` unless it is the first part of the rows.
template <int G, int T>
void panel_tile(const Panel<G>& panel, const PanelTokens<G>& tokens, int64_t n, float* out, int64_t stride,
                bool first) {
  F total[T];
  unroll<T>([&](auto t) { total[t.value] = first ? set(0) : load(out + t.value * stride); });
  for (int64_t g = 0; g < n / G; ++g) {
    I products[T];
    unroll<T>([&](auto t) { products[t.value] = I{}; });
    for (int j = 0; j < G / 4; ++j) {
      const Bytes w = load_bytes(panel.bytes[g * (G / 4) + j]);
      unroll<T>([&](auto t) {
        products[t.value] = dot_rows(products[t.value], w, tokens.q[t.value] + g * G + 4 * j);
      });
    }
    const F scale = load(panel.scale[g]), minimum = load(panel.minimum[g]);
    unroll<T>([&](auto t) {
      const F shared = scale * set(tokens.d[t.value][g * G / 32]);
      total[t.value] = fma(to_float(products[t.value]), shared, total[t.value]);
      total[t.value] = fnma(minimum, set(tokens.sums[t.value][g]), total[t.value]);
    });
  }
  unroll<T>([&](auto t) { store(out + t.value * stride, total[t.value]); });
}

// Tokens of the next tile: its sizes are few, and twice eight are faster than twelve and four.
inline int panel_tokens(int64_t left) {
  if (left >= 24 || (left >= 12 && left < 16)) return kPanelTokens;
  return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

template <int G>
void panel_tile(const Panel<G>& panel, const PanelTokens<G>& tokens, int count, int64_t n, float* out,
                int64_t stride, bool first) {
  switch (count) {
    case kPanelTokens:
      return panel_tile<G, kPanelTokens>(panel, tokens, n, out, stride, first);
    case 8:
      return panel_tile<G, 8>(panel, tokens, n, out, stride, first);
    case 4:
      return panel_tile<G, 4>(panel, tokens, n, out, stride, first);
    case 2:
      return panel_tile<G, 2>(panel, tokens, n, out, stride, first);
    default:
      return panel_tile<G, 1>(panel, tokens, n, out, stride, first);
  }
}

// As many rows as make whole panels; returns how many.
template <int G>
int64_t matmul_panels(const Matmul& m, PackFn<G> pack) {
  constexpr int kPair = 2;  // panels that share a pass over the activations
  Panel<G> panels[kPair];
  PanelTokens<G> tokens;
  int64_t row = 0;
  while (m.n_rows - row >= kPanelRows) {
    const int pair = m.n_rows - row >= kPair * kPanelRows ? kPair : 1;
    for (int64_t begin = 0; begin < m.k; begin += kPanelWeights) {
      const int64_t n = m.k - begin < kPanelWeights ? m.k - begin : kPanelWeights;
      for (int p = 0; p < pair; ++p)
        pack(m.rows + static_cast<size_t>(row + p * kPanelRows) * m.row_bytes, m.row_bytes, begin, n,
             panels[p]);
      for (int64_t token = 0; token < m.n_tokens;) {
        const int count = panel_tokens(m.n_tokens - token);
        tokens.take(m, token, count, begin, n);
        for (int p = 0; p < pair; ++p)
          panel_tile<G>(panels[p], tokens, count, n, m.out + token * m.out_stride + row + p * kPanelRows,
                        m.out_stride, begin == 0);
        token += count;
      }
    }
    row += pair * kPanelRows;
  }
  return row;
}

template <int G>
void few_or_many(const Matmul& m, MatmulFn few, PackFn<G> pack) {
  if (m.n_tokens < kPanelsFrom) return few(m);
  Matmul rest = m;
  const int64_t done = matmul_panels<G>(m, pack);
  rest.rows += static_cast<size_t>(done) * m.row_bytes;
  rest.out += done;
  rest.n_rows -= done;
  if (rest.n_rows > 0) few(rest);
}

inline void turn_floats(const float (&from)[kPanelRows][kPanelRows], float (&to)[kPanelRows][kPanelRows]) {
  turn(reinterpret_cast<const uint8_t*>(from), sizeof from[0], reinterpret_cast<uint8_t (*)[64]>(to));
}

// Block j of 32 has eight weights in each column, from 32 j + 8 c on.
inline void turn_columns(const uint8_t (&columns)[kColumns][kPanelRows][64], int64_t count,
                         uint8_t (*to)[64]) {
  alignas(64) uint8_t turned[kPanelRows][64];
  for (int c = 0; c < kColumns; ++c) {
    turn(columns[c][0], 64, turned);
    for (int i = 0; i < count / 16; ++i) store_bytes(to[i / 2 * 8 + 2 * c + i % 2], load_bytes(turned[i]));
  }
}

}  // namespace

void turn_chunk(const PanelChunk<16>& chunk, int64_t at, int64_t count, Panel<16>& panel) {
  turn_columns(chunk.columns, count, panel.bytes + at / 4);
  alignas(64) float turned[2][kPanelRows][kPanelRows];
  turn_floats(chunk.numbers[0], turned[0]);
  turn_floats(chunk.numbers[1], turned[1]);
  for (int64_t j = 0; j < count / 16; ++j) {
    store(panel.scale[at / 16 + j], load(turned[0][j]));
    store(panel.minimum[at / 16 + j], load(turned[1][j]));
  }
}
void turn_chunk(const PanelChunk<32>& chunk, int64_t at, int64_t count, Panel<32>& panel) {
  turn_columns(chunk.columns, count, panel.bytes + at / 4);
  alignas(64) float turned[kPanelRows][kPanelRows];
  turn_floats(chunk.numbers[0], turned);
  for (int64_t j = 0; j < count / 32; ++j) {
    store(panel.scale[at / 32 + j], load(turned[2 * j]));
    store(panel.minimum[at / 32 + j], load(turned[2 * j + 1]));
  }
}

void matmul_few_or_many(const Matmul& m, MatmulFn few, PackFn<16> pack) {
  few_or_many<16>(m, few, pack);
}
void matmul_few_or_many(const Matmul& m, MatmulFn few, PackFn<32> pack) {
  few_or_many<32>(m, few, pack);
}

}  // namespace ktd::KTD_ISA
