// The extension module: one line per subject.
#include "base/error.h"
#include "subjects.h"

NB_MODULE(_core, m) {
  m.doc() = "The CPU runtime of ktd.";
  nanobind::exception<ktd::EngineError>(m, "EngineError", PyExc_RuntimeError);
  ktd::bind_machine(m);
  ktd::bind_weights(m);
  ktd::bind_model(m);
  ktd::bind_routed_experts(m);
  ktd::bind_sampler(m);
  ktd::bind_quant(m);
}
