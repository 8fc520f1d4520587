#pragma once
// A thread function as bytes: the program that a simulated device loads.
#include <cstddef>
#include <span>
#include <vector>

#include "ir/thread.h"

namespace lathe::sim {

std::vector<std::byte> serialise(const thread::Func& f);

/// The inverse; a value's name is lost. Trusts nothing: another version, a count that the bytes do not hold or a
/// function that does not verify is bad_input.
Result<thread::Func> deserialise(std::span<const std::byte> bytes);

}  // namespace lathe::sim
