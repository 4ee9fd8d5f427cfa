// Super-blocks of 256 weights: Q4_K, Q6_K. Integer products per group become floats once, by the product of
// the group's scale and the activation's; minima and offsets multiply the activation sums instead of the
// weights.

namespace ktd::KTD_ISA {
namespace {

struct FormatQ4_K {
  using Block = BlockQ4_K;

  struct Chunk {
    const Block* block;
    ScalesMins by;
  };

  KTD_WORD Chunk open(const Block* b) { return {b, scales_mins(b)}; }
  KTD_WORD Eight scale(const Chunk& c, const float* d) { return c.by.scale * load_eight(d); }
  KTD_WORD F offset(F acc, const Chunk& c, const float* s) {
    return subtract(acc, c.by.min, load_sixteen(s));
  }
  template <int V>
  KTD_WORD Bytes weight(const Chunk& c) {
    return nibbles<V>(c.block->qs);
  }
  template <int V>
  KTD_WORD F spread(Eight scale) {
    return spread32<V>(scale);
  }
};

struct FormatQ6_K {
  using Block = BlockQ6_K;

  struct Chunk {
    const Block* block;
    Sixteen scale, raised;  // by 32
  };

  KTD_WORD Chunk open(const Block* b) {
    const Sixteen scale = sixteen(b->scales) * half(b->d);
    return {b, scale, scale * 32.0f};
  }
  KTD_WORD Sixteen scale(const Chunk& c, const float* d) { return c.scale * twice(load_eight(d)); }
  KTD_WORD F offset(F acc, const Chunk& c, const float* s) {
    return subtract(acc, c.raised, load_sixteen(s));
  }
  template <int V>
  KTD_WORD Bytes weight(const Chunk& c) {
    return six_bits<V>(c.block->ql, c.block->qh);
  }
  template <int V>
  KTD_WORD F spread(Sixteen scale) {
    return spread16<V>(scale);
  }
};

constexpr MatmulFn kRowsQ4_K = matmul<QuantisedRows<FormatQ4_K>>;
constexpr MatmulFn kRowsQ6_K = matmul<QuantisedRows<FormatQ6_K>>;

}  // namespace
}  // namespace ktd::KTD_ISA
