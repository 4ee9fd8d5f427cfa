// Blocks of 32 weights that are a half scale times small signed integers: Q8_0, Q4_0.

namespace ktd::KTD_ISA {
namespace {

// The half scales of eight consecutive blocks.
template <class Block>
[[gnu::always_inline]] inline Eight scales_of(const Block* b) {
  const auto four = [](const Block* p) {
    return static_cast<uint64_t>(p[0].d) | static_cast<uint64_t>(p[1].d) << 16 |
           static_cast<uint64_t>(p[2].d) << 32 | static_cast<uint64_t>(p[3].d) << 48;
  };
  return eight_halves(four(b), four(b + 4));
}

struct FormatQ8_0 {
  using Block = BlockQ8_0;

  struct Chunk {
    const Block* blocks;
    Eight scale;
  };

  KTD_WORD Chunk open(const Block* b) { return {b, scales_of(b)}; }
  KTD_WORD Eight scale(const Chunk& c, const float* d) { return c.scale * load_eight(d); }
  KTD_WORD F offset(F acc, const Chunk&, const float*) { return acc; }
  template <int V>
  KTD_WORD Signed weight(const Chunk& c) {
    return prepare(blocks32(c.blocks[V * kBlocks].qs, sizeof(Block)));
  }
  template <int V>
  KTD_WORD F spread(Eight scale) {
    return spread32<V>(scale);
  }
};

struct FormatQ4_0 {
  using Block = BlockQ4_0;

  struct Chunk {
    const Block* blocks;
    Eight scale;
    Sixteen raised;  // by 8
  };

  KTD_WORD Chunk open(const Block* b) {
    const Eight scale = scales_of(b);
    return {b, scale, twice(scale * set_eight(8))};
  }
  KTD_WORD Eight scale(const Chunk& c, const float* d) { return c.scale * load_eight(d); }
  KTD_WORD F offset(F acc, const Chunk& c, const float* s) {
    return subtract(acc, c.raised, load_sixteen(s));
  }
  template <int V>
  KTD_WORD Bytes weight(const Chunk& c) {
    return nibbles16(c.blocks[V * kBlocks].qs, sizeof(Block));
  }
  template <int V>
  KTD_WORD F spread(Eight scale) {
    return spread32<V>(scale);
  }
};

constexpr MatmulFn kRowsQ8_0 = matmul<QuantisedRows<FormatQ8_0>>;
constexpr MatmulFn kRowsQ4_0 = matmul<QuantisedRows<FormatQ4_0>>;

}  // namespace
}  // namespace ktd::KTD_ISA
