#include "stages/derive.h"

#include <vector>

#include "kernels/table.h"

namespace ktd {
namespace {

const TypeTraits* derived_type(const TypeTraits* source) {
  const bool kept = source->type == TensorType::F32 || source->type == TensorType::BF16;
  return kept ? source : find_traits(static_cast<uint32_t>(TensorType::F16));
}

}  // namespace

Memory derive_memory(const Tensor& kv_b, int64_t heads, int64_t nope) {
  const int64_t rows = heads * kv_b.dim(0);
  return Memory(derived_type(kv_b.traits)->row_bytes(nope) * rows, "k_b derived from " + kv_b.name);
}

Matrix transpose_heads(const Tensor& kv_b, int64_t heads, int64_t nope, int64_t value, const Memory& into,
                       Pool& pool) {
  const Matrix source = matrix(kv_b);
  const TypeTraits* traits = derived_type(source.traits);
  const size_t row_bytes = traits->row_bytes(nope);
  const Matrix derived{traits, into.data(), nope, source.k, heads, row_bytes, row_bytes * source.k};
  const StoreRowFn store = kernels(Isa::Scalar).store_row[static_cast<size_t>(traits->type)];
  const int64_t room = (source.k + 1) * nope;
  std::vector<float> rooms(pool.size() * room);
  pool.run([&](Team& team) {
    float* keys = rooms.data() + team.rank() * room;  // [nope, kv_lora] of one head
    float* column = keys + nope * source.k;
    team.each(heads, [&](int64_t head) {
      for (int64_t i = 0; i < nope; ++i)
        source.traits->dequantize(source.row(head * (nope + value) + i), keys + i * source.k, source.k);
      for (int64_t j = 0; j < source.k; ++j) {
        for (int64_t i = 0; i < nope; ++i) column[i] = keys[i * source.k + j];
        store(column, into.data() + head * derived.stride + j * row_bytes, nope);
      }
    });
  });
  return derived;
}

}  // namespace ktd
