#include "weights/weights.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <tuple>
#include <vector>

#include "subjects.h"

namespace ktd {

using namespace nb::literals;

namespace {

using PlaceRow = std::tuple<std::string, size_t, uint64_t, uint32_t, std::vector<int64_t>>;

void make_weights(Weights* self, const std::vector<std::string>& files, const std::vector<PlaceRow>& rows) {
  std::vector<TensorPlace> places;
  for (const auto& [name, file, offset, type, shape] : rows)
    places.push_back({name, file, offset, type, shape});
  new (self) Weights(files, places);
}

}  // namespace

void bind_weights(nb::module_& m) {
  nb::class_<Weights>(m, "Weights")
      .def("__init__", &make_weights, "files"_a, "tensors"_a)
      .def_prop_ro("bytes", &Weights::bytes)
      .def("populate", &Weights::populate, "begin"_a, "length"_a, nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace ktd
