// Many tokens: panels of 16 weight rows are unpacked once to unsigned bytes, four columns of every row side
// by side, and multiplied with all tokens. A weight is scale * byte - minimum, per row and group of kGroup
// weights; the minima meet the sums of the activations, so that a panel multiplies the numbers of the file
// and no others.

namespace ktd::KTD_ISA {
namespace {

constexpr int kPanelRows = 16;
constexpr int kPanelWeights = 2048;  // of a row at once: two panels and a tile of activations fit in L2
constexpr int64_t kPanelsFrom = 16;  // tokens that pay for the unpacking

template <int G>
struct Panel {
  alignas(64) uint8_t bytes[kPanelWeights / 4][64];
  alignas(64) float scale[kPanelWeights / G][kPanelRows];
  alignas(64) float minimum[kPanelWeights / G][kPanelRows];
};

// Weights [begin, begin + n) of 16 rows.
template <class Packer>
void pack(const std::byte* rows, size_t row_bytes, int64_t begin, int64_t n, Panel<Packer::kGroup>& panel) {
  constexpr int kPiece = 256, kGroups = kPiece / Packer::kGroup;
  alignas(64) uint8_t bytes[kPanelRows][kPiece];
  for (int64_t at = 0; at < n; at += kPiece) {
    const int count = static_cast<int>(n - at < kPiece ? n - at : kPiece);
    for (int r = 0; r < kPanelRows; ++r) {
      float scale[kGroups], minimum[kGroups];
      const std::byte* row = rows + static_cast<size_t>(r) * row_bytes;
      for (int i = 0; i < count; i += Packer::kWeights)
        Packer::unpack(row, (begin + at + i) / Packer::kWeights, bytes[r] + i, scale + i / Packer::kGroup,
                       minimum + i / Packer::kGroup);
      for (int g = 0; g < count / Packer::kGroup; ++g) {
        panel.scale[at / Packer::kGroup + g][r] = scale[g];
        panel.minimum[at / Packer::kGroup + g][r] = minimum[g];
      }
    }
    for (int i = 0; i < count; i += 64) turn(bytes[0] + i, kPiece, panel.bytes + (at + i) / 4);
  }
}

// As pack, for a format of turned.inl: see turned_panels.inl.
template <class Packer>
void pack_turned(const std::byte* rows, size_t row_bytes, int64_t begin, int64_t n,
                 Panel<Packer::kGroup>& panel);

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

template <int G, int T = kPanelTokens>
void panel_tile(const Panel<G>& panel, const PanelTokens<G>& tokens, int count, int64_t n, float* out,
                int64_t stride, bool first) {
  if constexpr (T > 1) {
    if (count < T) return panel_tile<G, T - 1>(panel, tokens, count, n, out, stride, first);
  }
  panel_tile<G, T>(panel, tokens, n, out, stride, first);
}

// As many rows as make whole panels; returns how many.
template <class Packer>
int64_t matmul_panels(const Matmul& m) {
  constexpr int G = Packer::kGroup, kPair = 2;  // panels that share a pass over the activations
  const int64_t tiles = (m.n_tokens + kPanelTokens - 1) / kPanelTokens;
  Panel<G> panels[kPair];
  PanelTokens<G> tokens;
  int64_t row = 0;
  while (m.n_rows - row >= kPanelRows) {
    const int pair = m.n_rows - row >= kPair * kPanelRows ? kPair : 1;
    for (int64_t begin = 0; begin < m.k; begin += kPanelWeights) {
      const int64_t n = m.k - begin < kPanelWeights ? m.k - begin : kPanelWeights;
      for (int p = 0; p < pair; ++p) {
        const std::byte* rows = m.rows + static_cast<size_t>(row + p * kPanelRows) * m.row_bytes;
        if constexpr (requires { typename Packer::Format; }) {
          pack_turned<Packer>(rows, m.row_bytes, begin, n, panels[p]);
        } else {
          pack<Packer>(rows, m.row_bytes, begin, n, panels[p]);
        }
      }
      for (int64_t i = 0; i < tiles; ++i) {
        const int64_t token = m.n_tokens * i / tiles;
        const int count = static_cast<int>(m.n_tokens * (i + 1) / tiles - token);
        tokens.take(m, token, count, begin, n);
        for (int p = 0; p < pair; ++p)
          panel_tile<G>(panels[p], tokens, count, n, m.out + token * m.out_stride + row + p * kPanelRows,
                        m.out_stride, begin == 0);
      }
    }
    row += pair * kPanelRows;
  }
  return row;
}

template <class Packer, MatmulFn few>
void matmul_few_or_many(const Matmul& m) {
  if (m.n_tokens < kPanelsFrom) return few(m);
  Matmul rest = m;
  const int64_t done = matmul_panels<Packer>(m);
  rest.rows += static_cast<size_t>(done) * m.row_bytes;
  rest.out += done;
  rest.n_rows -= done;
  if (rest.n_rows > 0) few(rest);
}

// `few`, and from kPanelsFrom tokens on, panels.
template <class Packer, MatmulFn few>
constexpr MatmulFn any_tokens() {
  return matmul_few_or_many<Packer, few>;
}

}  // namespace
}  // namespace ktd::KTD_ISA
