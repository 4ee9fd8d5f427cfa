// Blocks of 32 weights with a half scale, and some with a half minimum: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q8_1.
// Eight blocks are 256 weights.

namespace ktd::KTD_ISA {
namespace {

// A half of eight blocks, each twice.
template <class Block>
KTD_WORD Sixteen halves_of(const Block* b, uint16_t Block::* half) {
  return twice(eight_halves(&(b->*half), sizeof(Block)));
}

// Half H of column C: low nibbles are the first 16 weights.
template <int C, int H, class Block>
KTD_WORD Bytes nibble_column(const Block* b) {
  const Bytes packed = eights<C % 2, H>(b->qs, sizeof(Block));
  return C < 2 ? bits<15>(packed) : high_nibbles(packed);
}
template <int C, int H, class Block>
KTD_WORD Bytes five_bit_column(const Block* b) {
  return fifth_bits<C>(nibble_column<C, H>(b), eights<0, H>(&b->qh, sizeof(Block)));
}

struct FormatQ4_0 {
  using Block = BlockQ4_0;
  static constexpr int kScales = 1, kMost = 15;

  template <int C, int H>
  KTD_WORD Bytes column(const Block* b) {
    return nibble_column<C, H>(b);
  }
  KTD_WORD Unpacked<1> unpack(const Block* b) {
    const Sixteen scale = halves_of(b, &Block::d);
    return with_scale<FormatQ4_0>(b, scale, scale * 8);
  }
};

struct FormatQ4_1 {
  using Block = BlockQ4_1;
  static constexpr int kScales = 1, kMost = 15;

  template <int C, int H>
  KTD_WORD Bytes column(const Block* b) {
    return nibble_column<C, H>(b);
  }
  KTD_WORD Unpacked<1> unpack(const Block* b) {
    return with_scale<FormatQ4_1>(b, halves_of(b, &Block::d), halves_of(b, &Block::m) * -1);
  }
};

struct FormatQ5_0 {
  using Block = BlockQ5_0;
  static constexpr int kScales = 1, kMost = 31;

  template <int C, int H>
  KTD_WORD Bytes column(const Block* b) {
    return five_bit_column<C, H>(b);
  }
  KTD_WORD Unpacked<1> unpack(const Block* b) {
    const Sixteen scale = halves_of(b, &Block::d);
    return with_scale<FormatQ5_0>(b, scale, scale * 16);
  }
};

struct FormatQ5_1 {
  using Block = BlockQ5_1;
  static constexpr int kScales = 1, kMost = 31;

  template <int C, int H>
  KTD_WORD Bytes column(const Block* b) {
    return five_bit_column<C, H>(b);
  }
  KTD_WORD Unpacked<1> unpack(const Block* b) {
    return with_scale<FormatQ5_1>(b, halves_of(b, &Block::d), halves_of(b, &Block::m) * -1);
  }
};

template <class B>
struct FormatQ8 {
  using Block = B;
  static constexpr int kScales = 1, kMost = kMostSigned;

  template <int C, int H>
  KTD_WORD Bytes column(const Block* b) {
    return raise_signed(quarters<C, H>(b->qs, sizeof(Block)));
  }
  KTD_WORD Unpacked<1> unpack(const Block* b) {
    const Sixteen scale = halves_of(b, &Block::d);
    return with_scale<FormatQ8>(b, scale, scale * kRaisedSigned);
  }
};
using FormatQ8_0 = FormatQ8<BlockQ8_0>;
using FormatQ8_1 = FormatQ8<BlockQ8_1>;

}  // namespace
}  // namespace ktd::KTD_ISA
