// Super-blocks of 256 weights: Q2_K to Q6_K, Q8_K. In the file, blocks of 32 weights share bytes, each in
// bits of its own; a column takes the same eight bytes for each and moves the bits into place.

namespace ktd::KTD_ISA {
namespace {

// By how much the bits of block j move to the left.
struct Nibbles {
  static constexpr int by(int j) { return -4 * (j % 2); }
};
struct NibblesOfFour {
  static constexpr int by(int j) { return -4 * (j / 2 % 2); }
};
struct Planes {
  static constexpr int by(int j) { return -2 * (j % 4); }
};
struct PlanesTo4 {
  static constexpr int by(int j) { return 4 - 2 * (j % 4); }
};
template <int Bit>
struct OneBitTo {
  static constexpr int by(int j) { return Bit - j; }
};

struct FormatQ2_K {
  using Block = BlockQ2_K;
  static constexpr int kScales = 2, kMost = 3;

  template <int C, int H>
  KTD_WORD Bytes column(const Block* b) {
    return in_place<Planes, 3, H>(fours<C, H>(b->qs));
  }
  KTD_WORD Unpacked<2> unpack(const Block* b) {
    const Numbers numbers = numbers_at(b->scales);
    const Sixteen scale = unsigned_floats(low_four(numbers)) * in_place_scale<Planes>(half(b->d));
    const Sixteen minimum = unsigned_floats(high_four(numbers)) * half(b->dmin);
    return with_scales<FormatQ2_K>(b, scale, minimum);
  }
};

struct FormatQ3_K {
  using Block = BlockQ3_K;
  static constexpr int kScales = 2, kMost = 7;

  template <int C, int H>
  KTD_WORD Bytes column(const Block* b) {
    return merge<4>(bits<3>(move<Planes, H>(fours<C, H>(b->qs))), move<OneBitTo<2>, H>(all<C, H>(b->hmask)));
  }
  KTD_WORD Unpacked<2> unpack(const Block* b) {
    const Sixteen scale = signed_floats(six_bit_scales(&b->d)) * half(b->d);
    return with_scales<FormatQ3_K>(b, scale, scale * 4);
  }
};

// The eight scales of a Q4_K or Q5_K block times d, and its minima.
template <class Format>
KTD_WORD Unpacked<1> with_scales_and_minima(const typename Format::Block* b, const Sixteen& d) {
  const Numbers numbers = scales_and_minima(b);
  return with_scale<Format>(b, unsigned_floats(first_twice(numbers)) * d,
                            unsigned_floats(last_twice(numbers)) * half(b->dmin));
}

struct FormatQ4_K {
  using Block = BlockQ4_K;
  static constexpr int kScales = 1, kMost = 15;

  template <int C, int H>
  KTD_WORD Bytes column(const Block* b) {
    return in_place<Nibbles, 15, H>(pairs<C, H>(b->qs));
  }
  KTD_WORD Unpacked<1> unpack(const Block* b) {
    return with_scales_and_minima<FormatQ4_K>(b, in_place_scale<Nibbles>(half(b->d)));
  }
};

struct FormatQ5_K {
  using Block = BlockQ5_K;
  static constexpr int kScales = 1, kMost = 31;

  template <int C, int H>
  KTD_WORD Bytes column(const Block* b) {
    const Bytes low = bits<15>(move<Nibbles, H>(pairs<C, H>(b->qs)));
    return merge<16>(low, move<OneBitTo<4>, H>(all<C, H>(b->qh)));
  }
  KTD_WORD Unpacked<1> unpack(const Block* b) {
    return with_scales_and_minima<FormatQ5_K>(b, sixteen(half(b->d)));
  }
};

struct FormatQ6_K {
  using Block = BlockQ6_K;
  static constexpr int kScales = 2, kMost = 63;

  template <int C, int H>
  KTD_WORD Bytes column(const Block* b) {
    const Bytes low = bits<15>(move<NibblesOfFour, H>(alternate<C, H>(b->ql)));
    return merge<48>(low, move<PlanesTo4, H>(fours<C, H>(b->qh)));
  }
  KTD_WORD Unpacked<2> unpack(const Block* b) {
    const Sixteen scale = signed_floats(numbers_at(b->scales)) * half(b->d);
    return with_scales<FormatQ6_K>(b, scale, scale * 32);
  }
};

struct FormatQ8_K {
  using Block = BlockQ8_K;
  static constexpr int kScales = 1, kMost = kMostSigned;

  template <int C, int H>
  KTD_WORD Bytes column(const Block* b) {
    return raise_signed(quarters<C, H>(b->qs, 32));
  }
  KTD_WORD Unpacked<1> unpack(const Block* b) {
    const Sixteen scale = sixteen(b->d);
    return with_scale<FormatQ8_K>(b, scale, scale * kRaisedSigned);
  }
};

}  // namespace
}  // namespace ktd::KTD_ISA
