// Softmax over keys, a tile of them at a time: scores = q . keys, p = exp(scores - peak), mix += p . values.
// A few query rows pass through all three at once, so that their scores never leave the first cache. The sums
// of a row are the same whatever rows stand beside it.

namespace ktd::KTD_ISA {
namespace {

constexpr float kNoScore = -__builtin_inff();

struct AttendTile : QueryRows, KeyTile {};

struct QueryGroup {
  float scores[kQueryRows][kKeyTile];
  float shrink[kQueryRows];  // what earlier sums are worth beside the new peak
  int64_t begin, end;        // keys of the tile that any of the rows sees
};

// kKeyVectors vectors of keys by R rows.
template <int R>
void score_keys(const AttendTile& a, int64_t row, int64_t key, QueryGroup& g) {
  const float* q = a.q + row * a.q_stride;
  const float* keys = a.keys + key;
  F sums[R][kKeyVectors];
  unroll<R>([&](auto r) KTD_INLINE {
    unroll<kKeyVectors>([&](auto c) KTD_INLINE { sums[r.value][c.value] = set(0); });
  });
  for (int64_t i = 0; i < a.key_width; ++i, keys += kKeyTile) {
    F k[kKeyVectors];
    unroll<kKeyVectors>([&](auto c) KTD_INLINE { k[c.value] = load(keys + c.value * kF); });
    unroll<R>([&](auto r) KTD_INLINE {
      const F x = set(q[r.value * a.q_stride + i]);
      unroll<kKeyVectors>(
          [&](auto c) KTD_INLINE { sums[r.value][c.value] = fma(x, k[c.value], sums[r.value][c.value]); });
    });
  }
  unroll<R>([&](auto r) KTD_INLINE {
    unroll<kKeyVectors>(
        [&](auto c) KTD_INLINE { store(g.scores[r.value] + key + c.value * kF, sums[r.value][c.value]); });
  });
}

// softcap * tanh(score / softcap), with tanh x = 1 - 2 / (e^2x + 1): off by some 2^-23 of the cap.
inline void cap(float* scores, float limit) {
  for (int64_t k = 0; k < kKeyTile; k += kF) {
    const F e = exp(load(scores + k) * set(2 / limit));
    store(scores + k, set(limit) * (set(1) - set(2) / (e + set(1))));
  }
}

inline void hide_outside(float* scores, int64_t begin, int64_t end) {
  for (int64_t k = 0; k < begin; ++k) scores[k] = kNoScore;
  for (int64_t k = end; k < kKeyTile; ++k) scores[k] = kNoScore;
}

// Scores of one row to weights; the running softmax takes them in.
inline void soften(const AttendTile& a, int64_t row, float* scores, float* shrink) {
  const int64_t begin = a.begin[row] > a.first ? a.begin[row] - a.first : 0;
  const int64_t end = a.end[row] - a.first < a.count ? a.end[row] - a.first : a.count;
  *shrink = 1;
  if (begin >= end) {
    for (int64_t k = 0; k < kKeyTile; ++k) scores[k] = 0;
    return;
  }
  if (a.softcap > 0) cap(scores, a.softcap);
  hide_outside(scores, begin, end);
  F top = set(a.peak[row]), total = set(0);
  for (int64_t k = 0; k < kKeyTile; k += kF) top = max(top, load(scores + k));
  const float peak = max_of(top);
  for (int64_t k = 0; k < kKeyTile; k += kF) {
    const F p = exp(load(scores + k) - set(peak));
    store(scores + k, p);
    total = total + p;
  }
  float factor[kF];
  store(factor, exp(set(a.peak[row] - peak)));
  *shrink = factor[0];
  a.sum[row] = a.sum[row] * factor[0] + sum(total);
  a.peak[row] = peak;
}

// C vectors of the mixed values of R rows.
template <int R, int C>
void mix_vectors(const AttendTile& a, int64_t row, int64_t at, const QueryGroup& g) {
  float* mix = a.mix + row * a.mix_stride + at;
  const float* values = a.values + g.begin * a.value_stride + at;
  F sums[R][C];
  unroll<R>([&](auto r) KTD_INLINE {
    unroll<C>([&](auto c) KTD_INLINE {
      sums[r.value][c.value] = load(mix + r.value * a.mix_stride + c.value * kF) * set(g.shrink[r.value]);
    });
  });
  for (int64_t k = g.begin; k < g.end; ++k, values += a.value_stride) {
    F v[C];
    unroll<C>([&](auto c) KTD_INLINE { v[c.value] = load(values + c.value * kF); });
    unroll<R>([&](auto r) KTD_INLINE {
      const F p = set(g.scores[r.value][k]);
      unroll<C>([&](auto c)
                    KTD_INLINE { sums[r.value][c.value] = fma(p, v[c.value], sums[r.value][c.value]); });
    });
  }
  unroll<R>([&](auto r) KTD_INLINE {
    unroll<C>([&](auto c)
                  KTD_INLINE { store(mix + r.value * a.mix_stride + c.value * kF, sums[r.value][c.value]); });
  });
}

// The last values of one row, fewer than a vector.
inline void mix_tail(const AttendTile& a, int64_t row, int r, int64_t at, const QueryGroup& g) {
  const int64_t n = a.value_width - at;
  float* mix = a.mix + row * a.mix_stride + at;
  F total = load_n(mix, n) * set(g.shrink[r]);
  for (int64_t k = g.begin; k < g.end; ++k)
    total = fma(set(g.scores[r][k]), load_n(a.values + k * a.value_stride + at, n), total);
  store_n(mix, total, n);
}

// The keys of the tile that rows [row, row + count) see between them.
inline void reach_of(const AttendTile& a, int64_t row, int count, QueryGroup& g) {
  g.begin = a.count, g.end = 0;
  for (int64_t r = row; r < row + count; ++r) {
    const int64_t begin = a.begin[r] - a.first, end = a.end[r] - a.first;
    g.begin = begin < g.begin ? begin : g.begin;
    g.end = end > g.end ? end : g.end;
  }
  g.begin = g.begin > 0 ? g.begin : 0;
  g.end = g.end < a.count ? g.end : a.count;
}

template <int R>
void attend_group(const AttendTile& a, int64_t row) {
  QueryGroup g;
  reach_of(a, row, R, g);
  if (g.begin >= g.end) return;
  for (int64_t key = 0; key < kKeyTile; key += kKeyVectors * kF) score_keys<R>(a, row, key, g);
  for (int r = 0; r < R; ++r) soften(a, row + r, g.scores[r], g.shrink + r);
  int64_t at = 0;
  for (; at + kKeyVectors * kF <= a.value_width; at += kKeyVectors * kF)
    mix_vectors<R, kKeyVectors>(a, row, at, g);
  for (; at + kF <= a.value_width; at += kF) mix_vectors<R, 1>(a, row, at, g);
  if (at < a.value_width)
    for (int r = 0; r < R; ++r) mix_tail(a, row + r, r, at, g);
}

// Finds the R that equals `rows`.
template <int R = kQueryRows>
void attend_rows(const AttendTile& a, int64_t row, int64_t rows) {
  if constexpr (R > 1) {
    if (rows < R) return attend_rows<R - 1>(a, row, rows);
  }
  attend_group<R>(a, row);
}

void attend(const QueryRows& queries, const KeyTile& tile) {
  const AttendTile a{queries, tile};
  const int64_t groups = (a.rows + kQueryRows - 1) / kQueryRows;
  for (int64_t i = 0; i < groups; ++i) {  // of equal size within one
    const int64_t row = a.rows * i / groups;
    attend_rows(a, row, a.rows * (i + 1) / groups - row);
  }
}

void turn_keys(const float* rows, int64_t stride, int64_t width, float* keys) {
  int64_t i = 0;
  for (; i + kF <= width; i += kF)
    for (int64_t r = 0; r < kKeyTile; r += kF)
      turn_floats(rows + r * stride + i, stride, keys + i * kKeyTile + r, kKeyTile);
  for (; i < width; ++i)
    for (int64_t r = 0; r < kKeyTile; ++r) keys[i * kKeyTile + r] = rows[r * stride + i];
}

}  // namespace
}  // namespace ktd::KTD_ISA
