// The tensor types and the kernels, for tests and for tools that look into files.
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "kernels/table.h"
#include "quant/activation.h"
#include "subjects.h"

namespace ktd {

using namespace nb::literals;

namespace {

template <class T, int N>
using In = nb::ndarray<const T, nb::ndim<N>, nb::c_contig, nb::device::cpu>;
template <class T, int N>
using Out = nb::ndarray<nb::numpy, T, nb::ndim<N>>;
using Unlocked = nb::gil_scoped_release;

template <class T, int N>
Out<T, N> new_array(std::initializer_list<size_t> shape) {
  size_t size = 1;
  for (size_t dim : shape) size *= dim;
  auto data = std::make_unique<T[]>(size);  // zeros
  nb::capsule owner(data.get(), [](void* p) noexcept { delete[] static_cast<T*>(p); });
  return Out<T, N>(data.release(), shape, owner);
}

const TypeTraits& traits_of(uint32_t type) {
  const TypeTraits* traits = find_traits(type);
  if (traits == nullptr) throw EngineError("the engine knows no tensor type " + std::to_string(type));
  return *traits;
}

// Weights in `bytes` bytes of whole blocks.
int64_t weights_in(const TypeTraits& traits, size_t bytes) {
  if (bytes % static_cast<size_t>(traits.bytes) != 0)
    throw EngineError(std::to_string(bytes) + " bytes are no whole " + traits.name + " blocks of " +
                      std::to_string(traits.bytes));
  return static_cast<int64_t>(bytes) / traits.bytes * traits.block;
}

void expect(bool holds, const char* what) {
  if (!holds) throw EngineError(what);
}

// Activation rows in the format of a type, 64-byte aligned.
class StoredActivations {
 public:
  StoredActivations(const Kernels& kernels, ActFormat format, const float* x, int64_t rows, int64_t n)
      : stride_(format == ActFormat::F32 ? (n * sizeof(float) + 63) / 64 * 64 : ActQ8::row_bytes(n)),
        lines_(static_cast<size_t>(rows) * stride_ / sizeof(Line)) {
    for (int64_t i = 0; i < rows; ++i) {
      if (format == ActFormat::F32) {
        std::copy(x + i * n, x + (i + 1) * n, reinterpret_cast<float*>(row(i)));
      } else {
        kernels.quantize_q8(x + i * n, row(i), n, 0, n);
      }
    }
  }
  std::byte* row(int64_t i) {
    return reinterpret_cast<std::byte*>(lines_.data()) + static_cast<size_t>(i) * stride_;
  }
  size_t stride() const { return stride_; }

 private:
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  size_t stride_;
  std::vector<Line> lines_;
};

std::vector<std::tuple<uint32_t, std::string, int64_t, int64_t>> tensor_types() {
  std::vector<std::tuple<uint32_t, std::string, int64_t, int64_t>> rows;
  for (const TypeTraits* t : all_traits())
    rows.emplace_back(static_cast<uint32_t>(t->type), t->name, t->block, t->bytes);
  return rows;
}

std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (Isa isa : available_isas()) names.emplace_back(name(isa));
  return names;
}

Out<float, 1> dequantize(uint32_t type, const In<uint8_t, 1>& blocks) {
  const TypeTraits& traits = traits_of(type);
  const int64_t n = weights_in(traits, blocks.size());
  auto out = new_array<float, 1>({static_cast<size_t>(n)});
  Unlocked unlocked;
  traits.dequantize(reinterpret_cast<const std::byte*>(blocks.data()), out.data(), n);
  return out;
}

float dot_reference(uint32_t type, const In<uint8_t, 1>& blocks, const In<float, 1>& x) {
  const TypeTraits& traits = traits_of(type);
  const int64_t n = weights_in(traits, blocks.size());
  expect(static_cast<int64_t>(x.size()) == n, "the activation has not as many values as the row has weights");
  Unlocked unlocked;
  StoredActivations stored(kernels(Isa::Scalar), traits.act, x.data(), 1, n);
  return traits.dot(reinterpret_cast<const std::byte*>(blocks.data()), stored.row(0), n);
}

using Gather = std::optional<In<int32_t, 1>>;

void check_gather(const Gather& gather, size_t rows) {
  if (!gather) return;
  for (size_t i = 0; i < gather->size(); ++i)
    expect(gather->data()[i] >= 0 && static_cast<size_t>(gather->data()[i]) < rows,
           "gather names no row of x");
}

Out<float, 2> matmul(const Kernels& self, uint32_t type, const In<uint8_t, 2>& rows, const In<float, 2>& x,
                     const Gather& gather, size_t out_stride) {
  const TypeTraits& traits = traits_of(type);
  const int64_t k = weights_in(traits, rows.shape(1));
  expect(static_cast<int64_t>(x.shape(1)) == k, "x has not as many values a row as a row has weights");
  check_gather(gather, x.shape(0));
  const size_t n_rows = rows.shape(0), tokens = gather ? gather->size() : x.shape(0);
  const size_t stride = out_stride == 0 ? n_rows : out_stride;
  expect(stride >= n_rows, "out_stride is less than the number of rows");
  auto out = new_array<float, 2>({tokens, stride});
  Unlocked unlocked;
  StoredActivations stored(self, traits.act, x.data(), static_cast<int64_t>(x.shape(0)), k);
  self.matmul[type]({.rows = reinterpret_cast<const std::byte*>(rows.data()),
                     .row_bytes = rows.shape(1),
                     .n_rows = static_cast<int64_t>(n_rows),
                     .k = k,
                     .acts = stored.row(0),
                     .act_bytes = stored.stride(),
                     .gather = gather ? gather->data() : nullptr,
                     .n_tokens = static_cast<int64_t>(tokens),
                     .out = out.data(),
                     .out_stride = static_cast<int64_t>(stride)});
  return out;
}

nb::tuple quantize_q8(const Kernels& self, const In<float, 1>& x) {
  const auto n = static_cast<int64_t>(x.size());
  expect(n % 32 == 0, "the number of activations is no multiple of 32");
  auto q = new_array<int8_t, 1>({x.size()});
  auto d = new_array<float, 1>({x.size() / 32});
  auto s = new_array<float, 1>({x.size() / 16});
  StoredActivations stored(self, ActFormat::Q8, x.data(), 1, n);
  const ActQ8 row = ActQ8::at(stored.row(0), n);
  std::copy(row.q, row.q + n, q.data());
  std::copy(row.d, row.d + n / 32, d.data());
  std::copy(row.s, row.s + n / 16, s.data());
  return nb::make_tuple(q, d, s);
}

Out<float, 1> copied(const In<float, 1>& x) {
  auto out = new_array<float, 1>({x.size()});
  std::copy(x.data(), x.data() + x.size(), out.data());
  return out;
}

Out<float, 1> rms_norm(const Kernels& self, const In<float, 1>& x, const In<float, 1>& weight, float eps) {
  expect(x.size() == weight.size(), "x and weight differ in length");
  auto out = new_array<float, 1>({x.size()});
  self.rms_norm(x.data(), weight.data(), eps, out.data(), static_cast<int64_t>(x.size()));
  return out;
}

Out<float, 1> layer_norm(const Kernels& self, const In<float, 1>& x, const In<float, 1>& weight,
                         const In<float, 1>& bias, float eps) {
  expect(x.size() == weight.size() && x.size() == bias.size(), "x, weight and bias differ in length");
  auto out = new_array<float, 1>({x.size()});
  self.layer_norm(x.data(), weight.data(), bias.data(), eps, out.data(), static_cast<int64_t>(x.size()));
  return out;
}

Out<float, 1> silu_mul(const Kernels& self, const In<float, 1>& gate, const In<float, 1>& up) {
  expect(gate.size() == up.size(), "gate and up differ in length");
  auto out = new_array<float, 1>({gate.size()});
  self.silu_mul(gate.data(), up.data(), out.data(), static_cast<int64_t>(gate.size()));
  return out;
}

Out<float, 1> axpy(const Kernels& self, float a, const In<float, 1>& x, const In<float, 1>& y) {
  expect(x.size() == y.size(), "x and y differ in length");
  auto out = copied(y);
  self.axpy(a, x.data(), out.data(), static_cast<int64_t>(x.size()));
  return out;
}

Out<uint8_t, 1> store_row(const Kernels& self, uint32_t type, const In<float, 1>& x) {
  const TypeTraits& traits = traits_of(type);
  const StoreRowFn store = self.attention->store_row[type];
  expect(store != nullptr, "not a type of cache rows");
  const auto n = static_cast<int64_t>(x.size());
  auto out = new_array<uint8_t, 1>({traits.row_bytes((n + traits.block - 1) / traits.block * traits.block)});
  store(x.data(), reinterpret_cast<std::byte*>(out.data()), n);
  return out;
}

Out<float, 2> load_rows(const Kernels& self, uint32_t type, const In<uint8_t, 2>& rows, int64_t begin,
                        int64_t n) {
  const TypeTraits& traits = traits_of(type);
  const LoadRowsFn load = self.attention->load_rows[type];
  expect(load != nullptr, "not a type of cache rows");
  const int64_t width = static_cast<int64_t>(rows.shape(1)) / traits.bytes * traits.block;
  expect(begin >= 0 && n >= 0 && begin + n <= width, "a row has no such values");
  auto out = new_array<float, 2>({rows.shape(0), static_cast<size_t>(n)});
  load(reinterpret_cast<const std::byte*>(rows.data()), rows.shape(1), static_cast<int64_t>(rows.shape(0)),
       begin, n, out.data(), n);
  return out;
}

Out<float, 2> attend(const Kernels& self, const In<float, 2>& q, const In<float, 2>& keys,
                     const In<float, 2>& values, const In<int32_t, 1>& begin, const In<int32_t, 1>& end,
                     float softcap) {
  const size_t rows = q.shape(0), width = q.shape(1), count = keys.shape(0), wide = values.shape(1);
  expect(keys.shape(1) == width && values.shape(0) == count, "keys or values do not fit");
  expect(begin.size() == rows && end.size() == rows, "not one range a row");
  auto mix = new_array<float, 2>({rows, wide});
  std::fill_n(mix.data(), rows * wide, 0.0f);
  std::vector<float> peak(rows, -std::numeric_limits<float>::infinity()), sum(rows);
  std::vector<float> part(kKeyTile * width), turned(kKeyTile * width);
  for (size_t first = 0; first < count; first += kKeyTile) {
    const size_t some = std::min(count - first, static_cast<size_t>(kKeyTile));
    std::copy_n(keys.data() + first * width, some * width, part.data());
    self.attention->turn_keys(part.data(), width, width, turned.data());
    self.attention->attend(
        {static_cast<int64_t>(rows), q.data(), static_cast<int64_t>(width), begin.data(), end.data(), softcap,
         peak.data(), sum.data(), mix.data(), static_cast<int64_t>(wide)},
        {turned.data(), static_cast<int64_t>(width), values.data() + first * wide, static_cast<int64_t>(wide),
         static_cast<int64_t>(wide), static_cast<int64_t>(first), static_cast<int64_t>(some)});
  }
  for (size_t r = 0; r < rows; ++r)
    for (size_t i = 0; i < wide; ++i) mix.data()[r * wide + i] /= sum[r];
  return mix;
}

}  // namespace

void bind_quant(nb::module_& m) {
  m.def("tensor_types", &tensor_types);
  m.def("isas", &isa_names);
  m.def("dequantize", &dequantize, "type"_a, "blocks"_a);
  m.def("dot_reference", &dot_reference, "type"_a, "blocks"_a, "x"_a);
  nb::class_<Kernels>(m, "Kernels")
      .def_static(
          "of", [](const std::string& isa) { return &kernels(choose_isa(isa)); }, nb::rv_policy::reference,
          "isa"_a)
      .def_prop_ro("isa", [](const Kernels& self) { return name(self.isa); })
      .def("matmul", &matmul, "type"_a, "rows"_a, "x"_a, "gather"_a = nb::none(), "out_stride"_a = 0)
      .def("quantize_q8", &quantize_q8, "x"_a)
      .def("rms_norm", &rms_norm, "x"_a, "weight"_a, "eps"_a)
      .def("layer_norm", &layer_norm, "x"_a, "weight"_a, "bias"_a, "eps"_a)
      .def("silu_mul", &silu_mul, "gate"_a, "up"_a)
      .def("axpy", &axpy, "a"_a, "x"_a, "y"_a)
      .def("store_row", &store_row, "type"_a, "x"_a)
      .def("load_rows", &load_rows, "type"_a, "rows"_a, "begin"_a, "n"_a)
      .def("attend", &attend, "q"_a, "keys"_a, "values"_a, "begin"_a, "end"_a, "softcap"_a = 0.0f);
}

}  // namespace ktd
