// SPDX-License-Identifier: MIT
// See counting_new.hpp. To be included by exactly one file of a test program.
//
// With glibc the malloc family itself is replaced, below which operator new lies too: so the arena's aligned_alloc counts as
// well as a std::vector. Elsewhere, and under a sanitizer (which has its own malloc), only operator new is counted.
#include "support/counting_new.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::uint64_t> made{0};
std::atomic<std::uint64_t> bytes_asked{0};

void count(std::size_t bytes) noexcept {
  made.fetch_add(1, std::memory_order_relaxed);
  bytes_asked.fetch_add(bytes, std::memory_order_relaxed);
}

}  // namespace

namespace fovea_test {

std::uint64_t allocations_made() noexcept { return made.load(std::memory_order_relaxed); }
std::uint64_t bytes_allocated() noexcept { return bytes_asked.load(std::memory_order_relaxed); }

}  // namespace fovea_test

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FOVEA_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define FOVEA_TEST_SANITIZED 1
#endif
#endif

#if defined(__GLIBC__) && !defined(FOVEA_TEST_SANITIZED)

extern "C" {

void* __libc_malloc(std::size_t);                 // NOLINT(bugprone-reserved-identifier): glibc's own names
void* __libc_calloc(std::size_t, std::size_t);    // NOLINT(bugprone-reserved-identifier)
void* __libc_realloc(void*, std::size_t);         // NOLINT(bugprone-reserved-identifier)
void* __libc_memalign(std::size_t, std::size_t);  // NOLINT(bugprone-reserved-identifier)

void* malloc(std::size_t bytes) noexcept {
  count(bytes);
  return __libc_malloc(bytes);
}
void* calloc(std::size_t n, std::size_t bytes) noexcept {
  count(n * bytes);
  return __libc_calloc(n, bytes);
}
void* realloc(void* p, std::size_t bytes) noexcept {
  count(bytes);
  return __libc_realloc(p, bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) noexcept {
  count(bytes);
  return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  count(bytes);
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** result, std::size_t alignment, std::size_t bytes) noexcept {
  count(bytes);
  *result = __libc_memalign(alignment, bytes);
  return *result == nullptr && bytes != 0 ? 12 : 0;  // ENOMEM
}

}  // extern "C"

#else

namespace {

void* allocate(std::size_t bytes, std::size_t alignment) {
  count(bytes);
  bytes = (bytes + alignment - 1) / alignment * alignment;
  void* p = std::aligned_alloc(alignment, bytes == 0 ? alignment : bytes);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
void* allocate(std::size_t bytes, std::size_t alignment, std::nothrow_t) noexcept {
  try {
    return allocate(bytes, alignment);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
constexpr std::size_t kPlain = alignof(std::max_align_t);

}  // namespace

void* operator new(std::size_t bytes) { return allocate(bytes, kPlain); }
void* operator new[](std::size_t bytes) { return allocate(bytes, kPlain); }
void* operator new(std::size_t bytes, std::align_val_t a) { return allocate(bytes, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t bytes, std::align_val_t a) { return allocate(bytes, static_cast<std::size_t>(a)); }
void* operator new(std::size_t bytes, const std::nothrow_t& t) noexcept { return allocate(bytes, kPlain, t); }
void* operator new[](std::size_t bytes, const std::nothrow_t& t) noexcept { return allocate(bytes, kPlain, t); }
void* operator new(std::size_t bytes, std::align_val_t a, const std::nothrow_t& t) noexcept {
  return allocate(bytes, static_cast<std::size_t>(a), t);
}
void* operator new[](std::size_t bytes, std::align_val_t a, const std::nothrow_t& t) noexcept {
  return allocate(bytes, static_cast<std::size_t>(a), t);
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept { std::free(p); }

#endif
