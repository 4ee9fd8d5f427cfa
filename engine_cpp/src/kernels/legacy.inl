// Blocks of 32 weights that are a half scale times small signed integers: Q8_0, Q4_0.

namespace ktd::KTD_ISA {
namespace {

struct UnpackQ8_0 {
  using Block = BlockQ8_0;
  KTD_WORD Bytes bytes(const std::byte* qs, size_t stride) { return blocks32(qs, stride); }
};
struct UnpackQ4_0 {
  using Block = BlockQ4_0;
  KTD_WORD Bytes bytes(const std::byte* qs, size_t stride) { return minus(nibbles16(qs, stride), 8); }
};

template <class Unpack>
struct Blocks32 {
  using Block = typename Unpack::Block;
  static constexpr int kWeights = kBytes;
  static constexpr bool kTail = kBlocks > 1;

  struct Chunk {
    Signed w;
    F d;
  };

  [[gnu::always_inline]] static Chunk blocks(const std::byte* p, size_t stride) {
    return {prepare(Unpack::bytes(p + offsetof(Block, qs), stride)), halves(p + offsetof(Block, d), stride)};
  }
  [[gnu::always_inline]] static Chunk unpack(const std::byte* row, int64_t c) {
    return blocks(row + static_cast<size_t>(c) * kBlocks * sizeof(Block), sizeof(Block));
  }
  [[gnu::always_inline]] static F add(F acc, const Chunk& chunk, const std::byte* act, const Place& at) {
    const F products = to_float(dot(chunk.w, load_bytes(act + at.q)));
    return fma(products, chunk.d * per_block(floats(act, at.d)), acc);
  }
  // One block is left. It is taken twice and the second, with whatever lies behind the planes, is dropped:
  // all planes end on 64 bytes and an odd number of blocks ends before that.
  [[gnu::always_inline]] static F add_last(F acc, const std::byte* row, int64_t c, const std::byte* act,
                                           const Place& at) {
    const Chunk chunk = blocks(row + static_cast<size_t>(c) * kBlocks * sizeof(Block), 0);
    return acc + first_block(add(set(0), chunk, act, at));
  }

  template <int R, int T>
  static void tile(const Matmul& m, int64_t row, int64_t token) {
    quantised_tile<Blocks32, R, T>(m, row, token);
  }
};

using RowsQ8_0 = Blocks32<UnpackQ8_0>;
using RowsQ4_0 = Blocks32<UnpackQ4_0>;

}  // namespace
}  // namespace ktd::KTD_ISA
