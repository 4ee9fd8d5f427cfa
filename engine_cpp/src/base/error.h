// The one error of the runtime: thrown at its doors, never inside a kernel or a phase.
#pragma once

#include <stdexcept>
#include <string>

namespace ktd {

class EngineError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace ktd
