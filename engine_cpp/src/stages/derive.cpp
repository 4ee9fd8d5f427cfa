#include "stages/derive.h"

#include <vector>

#include "kernels/table.h"

namespace ktd {
namespace {

const TypeTraits* turned_type(const Matrix& stack) {
  if (stack.traits->block == 1) return stack.traits;
  const TypeTraits* bytes = find_traits(static_cast<uint32_t>(TensorType::Q8_0));
  return stack.rows % bytes->block == 0 ? bytes : find_traits(static_cast<uint32_t>(TensorType::F16));
}

}  // namespace

Memory turned_memory(const Matrix& stack, const std::string& name) {
  return Memory(turned_type(stack)->row_bytes(stack.rows) * stack.k * stack.count,
                "heads turned from " + name);
}

Matrix turned(const Matrix& stack, const Memory& into, Pool& pool) {
  const TypeTraits* traits = turned_type(stack);
  const size_t row_bytes = traits->row_bytes(stack.rows);
  const Matrix result{traits, into.data(), stack.rows, stack.k, stack.count, row_bytes, row_bytes * stack.k};
  const StoreRowFn store = kernels(Isa::Scalar).attention->store_row[static_cast<size_t>(traits->type)];
  const int64_t room = (stack.k + 1) * stack.rows;
  std::vector<float> rooms(pool.size() * room);
  pool.run([&](Team& team) {
    float* values = rooms.data() + team.rank() * room;  // [rows, k] of one head
    float* column = values + stack.rows * stack.k;
    team.each(stack.count, [&](int64_t head) {
      for (int64_t i = 0; i < stack.rows; ++i)
        stack.traits->dequantize(stack.row(i, head), values + i * stack.k, stack.k);
      for (int64_t j = 0; j < stack.k; ++j) {
        for (int64_t i = 0; i < stack.rows; ++i) column[i] = values[i * stack.k + j];
        store(column, into.data() + head * result.stride + j * row_bytes, stack.rows);
      }
    });
  });
  return result;
}

}  // namespace ktd
