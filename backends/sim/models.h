#pragma once
// What a simulated device is: its facts, its matrix unit, and its target unless that has to be probed.
#include "backends/sim/lane_map.h"
#include "runtime/device.h"

namespace lathe::sim {

struct Model {
  runtime::DeviceInfo info;
  std::optional<Target> target;
  MatrixUnit matrices;
};

/// A device that is what the target says; its id is "sim:NAME".
Model model_of(std::string_view name, Target target);
/// By the part of the id after "sim:". no_device: there is none of the name.
runtime::Result<Model> find_model(std::string_view name);
/// Of a machine that the target describes; `name`: of its id.
Model model_of(std::string_view name, Target t);

}  // namespace lathe::sim
