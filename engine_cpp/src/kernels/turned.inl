// The tile of formats whose weights come in groups of 8: codebooks, and what shares their layout. 256 weights
// are unpacked in the order of the turned activations (see ActQ8), where every lane belongs to one block of
// 32: the products of a block are added as integers, and the scales of a row and a token meet lane by lane.
//
// A Format gives
//   Block                 of the file
//   kScales               1: a scale for each 32 weights; 2: for each 16
//   kMost                 the largest unpacked byte
//   unpack(blocks)        256 weights of a row as Unpacked<kScales>
// or, where unpacking needs something in memory: a load soon after the store of a whole vector waits for it,
// so this is written for some rows before any is unpacked,
//   Ready, open(blocks, ready), unpack(ready)

namespace ktd::KTD_ISA {
namespace {

constexpr int kTurned = 256;  // weights at once

// Weight i of a group is scale * byte - minimum. Column c is bytes[c * kHalves ...]; a lane pair of the
// scales is a block of 32. Of two scales the first is for columns 0 and 1 (16 weights), the second for 2
// and 3. The minima stand in the order of the activation sums.
template <int Scales>
struct Unpacked {
  Bytes bytes[kColumns * kHalves];
  Sixteen scale[Scales];
  Sixteen minimum;
};

// Of a format that gives `column<C, H>(from)`, half H of column C; from: the blocks, or what is ready of
// them.
template <class Format, class From>
KTD_WORD void unpack_columns(Unpacked<Format::kScales>& u, const From& from) {
  unroll<kColumns>([&](auto c) KTD_INLINE {
    unroll<kHalves>([&](auto h) KTD_INLINE {
      u.bytes[c.value * kHalves + h.value] = Format::template column<c.value, h.value>(from);
    });
  });
}
template <class Format, class From>
KTD_WORD Unpacked<Format::kScales> with_columns(const From& from, Unpacked<Format::kScales> u) {
  unpack_columns<Format>(u, from);
  return u;
}
// With a scale for each 32, or with one for each 16. (No part is set twice: it would go through memory.)
template <class Format>
KTD_WORD Unpacked<1> with_scale(const typename Format::Block* b, Sixteen scale, Sixteen minimum) {
  Unpacked<1> u;
  unpack_columns<Format>(u, b);
  u.scale[0] = scale;
  u.minimum = minimum;
  return u;
}
template <class Format>
KTD_WORD Unpacked<2> with_scales(const typename Format::Block* b, Sixteen scale, Sixteen minimum) {
  Unpacked<2> u;
  unpack_columns<Format>(u, b);
  u.scale[0] = firsts(scale);
  u.scale[1] = seconds(scale);
  u.minimum = minimum;
  return u;
}

// 256 weights of a row on their way.
template <class Format>
struct Opened {
  const typename Format::Block* blocks;
  KTD_WORD void open(Opened& to, const typename Format::Block* b) { to.blocks = b; }
  KTD_WORD auto unpack(const Opened& from) { return Format::unpack(from.blocks); }
};
template <class Format>
  requires requires { typename Format::Ready; }
struct Opened<Format> {
  typename Format::Ready ready;
  KTD_WORD void open(Opened& to, const typename Format::Block* b) { Format::open(b, to.ready); }
  KTD_WORD auto unpack(const Opened& from) { return Format::unpack(from.ready); }
};

// The Ready of formats that look their groups up in memory: see points().
template <class B>
struct FromIndex {
  using Block = B;
  struct Ready {
    const B* block;
    alignas(64) uint16_t index[32];
  };
};

// Where a chunk finds its planes in every activation row, in bytes from the row.
struct TurnedPlace {
  size_t t, d, s;

  explicit TurnedPlace(int64_t n) : t(ActQ8::t_offset(n)), d(ActQ8::d_offset(n)), s(ActQ8::s_offset(n)) {}
  void advance() {
    t += kTurned;
    d += kTurned / 32 * sizeof(float);
    s += kTurned / 16 * sizeof(float);
  }
};

// acc plus the products of some 256 weights with an activation, whose scales are d.
template <class Format, int Scales>
[[gnu::always_inline]] inline F add_products(F acc, const Unpacked<Scales>& w, const std::byte* act,
                                             const TurnedPlace& at, const Sixteen& d) {
  unroll<kHalves>([&](auto h) KTD_INLINE {
    const std::byte* t = act + at.t + h.value * kBytes;
    F products;
    if constexpr (Scales == 1) {
      products = to_float(dot_columns<Format::kMost, 0, 4>(w.bytes + h.value, t)) * w.scale[0].part[h.value];
    } else {
      const F first = to_float(dot_columns<Format::kMost, 0, 2>(w.bytes + h.value, t));
      const F second = to_float(dot_columns<Format::kMost, 2, 2>(w.bytes + h.value, t));
      products = fma(second, w.scale[1].part[h.value], first * w.scale[0].part[h.value]);
    }
    acc = fma(products, d.part[h.value], acc);
    acc = fnma(w.minimum.part[h.value], load(reinterpret_cast<const float*>(act + at.s) + h.value * kF), acc);
  });
  return acc;
}

template <class Format, int R, int T>
[[gnu::always_inline]] inline void add_turned(F (&sums)[R][T], const std::byte* const (&w)[R],
                                              const std::byte* const (&act)[T], const TurnedPlace& at) {
  Sixteen d[T];
  unroll<T>([&](auto t) KTD_INLINE {
    d[t.value] = twice(load_eight(reinterpret_cast<const float*>(act[t.value] + at.d)));
  });
  Opened<Format> opened[R];
  unroll<R>([&](auto r) KTD_INLINE {
    Opened<Format>::open(opened[r.value], reinterpret_cast<const typename Format::Block*>(w[r.value]));
  });
  unroll<R>([&](auto r) KTD_INLINE {
    const auto unpacked = Opened<Format>::unpack(opened[r.value]);
    unroll<T>([&](auto t) KTD_INLINE {
      sums[r.value][t.value] =
          add_products<Format>(sums[r.value][t.value], unpacked, act[t.value], at, d[t.value]);
    });
  });
}

template <class Format, int R, int T>
void turned_tile(const Matmul& m, int64_t row, int64_t token) {
  using Block = typename Format::Block;
  constexpr size_t kChunkBytes = kTurned / Block::kWeights * sizeof(Block);
  const std::byte* w[R];
  const std::byte* act[T];
  F sums[R][T];
  unroll<R>([&](auto r) KTD_INLINE {
    w[r.value] = m.rows + static_cast<size_t>(row + r.value) * m.row_bytes;
    unroll<T>([&](auto t) KTD_INLINE { sums[r.value][t.value] = set(0); });
  });
  unroll<T>([&](auto t) KTD_INLINE { act[t.value] = activation(m, token + t.value); });
  TurnedPlace at(m.k);
  const size_t ahead = bytes_ahead(R * m.row_bytes);
  for (int64_t c = m.k / kTurned; c > 0; --c) {
    unroll<R>([&](auto r) KTD_INLINE { prefetch<kChunkBytes>(w[r.value] + ahead); });
    add_turned<Format, R, T>(sums, w, act, at);
    unroll<R>([&](auto r) KTD_INLINE { w[r.value] += kChunkBytes; });
    at.advance();
  }
  // What is left of a row of small blocks. Whatever stands behind it counts nothing, because the scales and
  // sums of the activations end in zeros: the next rows stand there, and zeros are put behind the last.
  if (const auto left = static_cast<size_t>(m.k % kTurned / Block::kWeights); left != 0) {
    const std::byte* end = m.rows + static_cast<size_t>(m.n_rows) * m.row_bytes;
    std::byte blocks[R][kChunkBytes];
    unroll<R>([&](auto r) KTD_INLINE {
      prefetch<kChunkBytes>(w[r.value] + ahead);
      if (w[r.value] + kChunkBytes <= end) return;
      __builtin_memset(blocks[r.value], 0, kChunkBytes);
      __builtin_memcpy(blocks[r.value], w[r.value], left * sizeof(Block));
      w[r.value] = blocks[r.value];
    });
    add_turned<Format, R, T>(sums, w, act, at);
  }
  store_sums<R, T>(m, row, token, sums);
}

template <class Format>
struct TurnedRows {
  static constexpr int kSums = kIntegerSums, kRows = 4;

  template <int R, int T>
  static void tile(const Matmul& m, int64_t row, int64_t token) {
    turned_tile<Format, R, T>(m, row, token);
  }
};

}  // namespace
}  // namespace ktd::KTD_ISA
