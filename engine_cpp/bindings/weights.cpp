#include "weights/weights.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "machine/machine.h"
#include "subjects.h"

namespace ktd {

using namespace nb::literals;

namespace {

using PlaceRow = std::tuple<std::string, size_t, uint64_t, uint32_t, std::vector<int64_t>>;

void make_weights(Weights* self, const std::vector<std::string>& files, const std::vector<PlaceRow>& rows,
                  const std::string& residence) {
  if (residence != "mapped" && residence != "read")
    throw EngineError("weights are mapped or read, not '" + residence + "'");
  std::vector<TensorPlace> places;
  for (const auto& [name, file, offset, type, shape] : rows)
    places.push_back({name, file, offset, type, shape});
  new (self) Weights(files, places, residence == "read" ? Residence::Read : Residence::Mapped);
}

}  // namespace

void bind_weights(nb::module_& m) {
  nb::class_<Weights>(m, "Weights")
      .def("__init__", &make_weights, "files"_a, "tensors"_a, "residence"_a = "mapped")
      .def_prop_ro("bytes", &Weights::bytes)
      .def(
          "populate",
          [](const Weights& self, Machine& machine, size_t begin, size_t length) {
            self.populate(machine.pool, begin, length);
          },
          "machine"_a, "begin"_a, "length"_a, nb::call_guard<nb::gil_scoped_release>());
  m.def("maps_huge", &maps_huge, "path"_a, nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace ktd
