#include "machine/machine.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>

#include <string>
#include <utility>

#include "subjects.h"

namespace ktd {

using namespace nb::literals;

void bind_machine(nb::module_& m) {
  nb::class_<Machine>(m, "Machine")
      .def(nb::init<int, std::string>(), "threads"_a = 0, "isa"_a = "")
      .def_prop_ro("threads", [](const Machine& self) { return self.pool.size(); })
      .def_prop_ro("isa", [](const Machine& self) { return name(self.kernels.isa); })
      .def("read_bandwidth", &read_bandwidth, "bytes"_a, nb::call_guard<nb::gil_scoped_release>())
      .def(
          "multiplication_peak",
          [](Machine& self) {
            const Peak peak = multiplication_peak(self);
            return std::pair(peak.floats, peak.bytes);
          },
          nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace ktd
