// The extension module: one line per subject.
#include "subjects.h"

NB_MODULE(_core, m) {
  m.doc() = "The CPU runtime of ktd.";
  ktd::bind_machine(m);
}
