// Super-blocks of 256 weights: Q4_K, Q6_K. Integer products per group become floats once, by the product of
// the group's scale and the activation's; minima and offsets multiply the activation sums instead of the
// weights.

namespace ktd::KTD_ISA {
namespace {

constexpr int kVectors = 256 / kBytes;

struct ScalesMins {
  uint64_t scales, mins;  // eight bytes each
};

// The 6-bit scales and minima of Q4_K and Q5_K, four at a time in 32-bit words.
inline ScalesMins six_bit_scales(const uint8_t* p) {
  uint32_t a, b, c;  // scales 0-3 and the top of 4-7; minima likewise; the low nibbles of both 4-7
  __builtin_memcpy(&a, p, 4);
  __builtin_memcpy(&b, p + 4, 4);
  __builtin_memcpy(&c, p + 8, 4);
  const uint64_t scales = (c & 0x0f0f0f0fu) | (a >> 2 & 0x30303030u);
  const uint64_t mins = (c >> 4 & 0x0f0f0f0fu) | (b >> 2 & 0x30303030u);
  return {scales << 32 | (a & 0x3f3f3f3fu), mins << 32 | (b & 0x3f3f3f3fu)};
}

struct RowsQ4_K {
  static constexpr int kWeights = 256;
  static constexpr bool kTail = false;

  struct Chunk {
    Bytes w[kVectors];
    Eight scale;
    Sixteen min;
  };

  [[gnu::always_inline]] static Chunk unpack(const std::byte* row, int64_t c) {
    const auto* b = reinterpret_cast<const BlockQ4_K*>(row) + c;
    const ScalesMins sm = six_bit_scales(b->scales);
    Chunk chunk;
    nibbles256(b->qs, chunk.w);
    chunk.scale = eight(sm.scales) * (nibble_units() * set_eight(half(b->d)));
    chunk.min = twice(sm.mins) * half(b->dmin);
    return chunk;
  }
  [[gnu::always_inline]] static F add(F acc, const Chunk& chunk, const std::byte* act, const Place& at) {
    const Eight scale = chunk.scale * load_eight(floats(act, at.d));
    acc = subtract(acc, chunk.min, load_sixteen(floats(act, at.s)));
    unroll<kVectors>([&](auto v) {
      const F products = to_float(dot(chunk.w[v.value], load_bytes(act + at.q + v.value * kBytes)));
      acc = fma(products, spread32<v.value>(scale), acc);
    });
    return acc;
  }

  template <int R, int T>
  static void tile(const Matmul& m, int64_t row, int64_t token) {
    quantised_tile<RowsQ4_K, R, T>(m, row, token);
  }
};

struct RowsQ6_K {
  static constexpr int kWeights = 256;
  static constexpr bool kTail = false;

  struct Chunk {
    Bytes w[kVectors];  // raised by 32
    Sixteen scale, offset;
  };

  [[gnu::always_inline]] static Chunk unpack(const std::byte* row, int64_t c) {
    const auto* b = reinterpret_cast<const BlockQ6_K*>(row) + c;
    Chunk chunk;
    sixbits256(b->ql, b->qh, chunk.w);
    chunk.scale = sixteen(b->scales) * half(b->d);
    chunk.offset = chunk.scale * 32.0f;
    return chunk;
  }
  [[gnu::always_inline]] static F add(F acc, const Chunk& chunk, const std::byte* act, const Place& at) {
    const Sixteen scale = chunk.scale * twice(load_eight(floats(act, at.d)));
    acc = subtract(acc, chunk.offset, load_sixteen(floats(act, at.s)));
    unroll<kVectors>([&](auto v) {
      const F products = to_float(dot(chunk.w[v.value], load_bytes(act + at.q + v.value * kBytes)));
      acc = fma(products, spread16<v.value>(scale), acc);
    });
    return acc;
  }

  template <int R, int T>
  static void tile(const Matmul& m, int64_t row, int64_t token) {
    quantised_tile<RowsQ6_K, R, T>(m, row, token);
  }
};

}  // namespace
}  // namespace ktd::KTD_ISA
