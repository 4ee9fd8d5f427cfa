#include "run/routed_experts.h"

#include <nanobind/ndarray.h>

#include <string>

#include "base/error.h"
#include "stages.h"
#include "subjects.h"

namespace ktd {

using namespace nb::literals;

namespace {

template <class T>
using Table = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

void make(RoutedExperts* self, Machine& machine, const Weights& weights, nb::sequence stages,
          int64_t max_tokens, bool streamed) {
  if (max_tokens < 1) throw EngineError("max_tokens must be at least 1, not " + std::to_string(max_tokens));
  new (self) RoutedExperts(machine, read_routed_experts(stages, weights, streamed), max_tokens);
}

template <class T>
void expect(const Table<T>& table, const char* name, size_t rows, int64_t width) {
  if (table.shape(0) != rows || table.shape(1) != static_cast<size_t>(width))
    throw EngineError(std::string(name) + " must have " + std::to_string(rows) + " rows of " +
                      std::to_string(width));
}

void run(RoutedExperts& self, size_t layer, const Table<const float>& x, const Table<const int32_t>& ids,
         const Table<const float>& weights, const Table<float>& out) {
  const Experts& experts = self.layer(layer);
  const size_t tokens = ids.shape(0);
  expect(x, "x", tokens, experts.dim());
  expect(ids, "ids", tokens, experts.used());
  expect(weights, "weights", tokens, experts.used());
  expect(out, "out", tokens, experts.dim());
  nb::gil_scoped_release unlocked;
  self.run(layer, {static_cast<int64_t>(tokens), ids.data(), weights.data(), nullptr}, x.data(), out.data());
}

}  // namespace

void bind_routed_experts(nb::module_& m) {
  nb::class_<RoutedExperts>(m, "RoutedExperts")
      .def("__init__", &make, "machine"_a, "weights"_a, "stages"_a, "max_tokens"_a, "streamed"_a = false,
           nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>())
      .def_prop_ro("scratch_bytes", &RoutedExperts::scratch_bytes)
      .def("run", &run, "layer"_a, "x"_a, "ids"_a, "weights"_a, "out"_a);
}

}  // namespace ktd
