// SPDX-License-Identifier: MIT
/// \file
/// Views and owning tensors: what every kernel reads and writes.
///
/// A View is a pointer, extents and strides (in elements), row-major where not said otherwise; it never owns.
/// A Tensor owns 64-byte aligned memory. Features are NHWC, images HWC.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

namespace fovea::inline FOVEA_ABI {

/// Signed, so that differences and reversed loops are safe.
using Index = std::ptrdiff_t;

template <std::size_t N>
using Extents = std::array<Index, N>;

/// Every buffer the library owns starts on a cache line, which is also the widest SIMD register.
inline constexpr std::size_t kAlignment = 64;

/// Number of elements of a dense array of these extents.
template <std::size_t N>
[[nodiscard]] constexpr Index product(const Extents<N>& extents) noexcept {
  Index n = 1;
  for (const Index e : extents) n *= e;
  return n;
}

/// Strides in elements of a dense row-major array.
template <std::size_t N>
[[nodiscard]] constexpr Extents<N> dense_strides(const Extents<N>& extents) noexcept {
  Extents<N> strides{};
  Index step = 1;
  for (std::size_t i = N; i-- > 0;) {
    strides[i] = step;
    step *= extents[i];
  }
  return strides;
}

/// A strided, non-owning array of rank N.
/// Indexing is checked by assertion in debug builds. Copying a view copies the handle, not the elements; constness of the
/// elements is `View<const T, N>`.
template <class T, std::size_t N>
class View {
 public:
  using value_type = std::remove_cv_t<T>;
  static constexpr std::size_t rank = N;

  constexpr View() noexcept = default;
  /// A dense row-major array.
  constexpr View(T* data, const Extents<N>& extents) noexcept
      : data_(data), extents_(extents), strides_(dense_strides(extents)) {}
  /// Any strides, in elements; negative ones are allowed.
  constexpr View(T* data, const Extents<N>& extents, const Extents<N>& strides) noexcept
      : data_(data), extents_(extents), strides_(strides) {}
  /// View<T> converts to View<const T>.
  template <class U>
    requires(std::is_convertible_v<U (*)[], T (*)[]> && !std::is_same_v<U, T>)
  constexpr View(const View<U, N>& other) noexcept  // NOLINT(google-explicit-constructor)
      : data_(other.data()), extents_(other.extents()), strides_(other.strides()) {}

  [[nodiscard]] constexpr T* data() const noexcept { return data_; }
  [[nodiscard]] constexpr Index extent(std::size_t i) const noexcept { return extents_[i]; }
  [[nodiscard]] constexpr Index stride(std::size_t i) const noexcept { return strides_[i]; }
  [[nodiscard]] constexpr const Extents<N>& extents() const noexcept { return extents_; }
  [[nodiscard]] constexpr const Extents<N>& strides() const noexcept { return strides_; }
  [[nodiscard]] constexpr Index size() const noexcept { return product(extents_); }
  [[nodiscard]] constexpr bool empty() const noexcept { return size() == 0; }
  /// True where the elements lie one behind the other in row-major order.
  [[nodiscard]] constexpr bool is_dense() const noexcept { return strides_ == dense_strides(extents_); }

  template <class... Indices>
    requires(sizeof...(Indices) == N)
  [[nodiscard]] constexpr T& operator()(Indices... indices) const noexcept {
    const Extents<N> at{static_cast<Index>(indices)...};
    Index offset = 0;
    for (std::size_t i = 0; i < N; ++i) {
      FOVEA_ASSERT(at[i] >= 0 && at[i] < extents_[i]);
      offset += at[i] * strides_[i];
    }
    return data_[offset];
  }

  /// The i-th slice along the first axis (rank N - 1), or the i-th element of a rank-1 view.
  [[nodiscard]] constexpr decltype(auto) operator[](Index i) const noexcept {
    FOVEA_ASSERT(i >= 0 && i < extents_[0]);
    if constexpr (N == 1) {
      return static_cast<T&>(data_[i * strides_[0]]);
    } else {
      Extents<N - 1> extents{};
      Extents<N - 1> strides{};
      std::copy_n(extents_.begin() + 1, N - 1, extents.begin());
      std::copy_n(strides_.begin() + 1, N - 1, strides.begin());
      return View<T, N - 1>(data_ + i * strides_[0], extents, strides);
    }
  }

  /// Elements [first, first + count) of the first axis.
  [[nodiscard]] constexpr View slice(Index first, Index count) const noexcept {
    FOVEA_ASSERT(first >= 0 && count >= 0 && first + count <= extents_[0]);
    Extents<N> extents = extents_;
    extents[0] = count;
    return View(data_ + first * strides_[0], extents, strides_);
  }

 private:
  T* data_ = nullptr;
  Extents<N> extents_{};
  Extents<N> strides_{};
};

/// An owning, dense, row-major, aligned array of trivially copyable elements; zero-initialised.
/// Copies are deep. Throws std::bad_alloc, or Error on negative extents.
template <class T, std::size_t N>
class Tensor {
  static_assert(std::is_trivially_copyable_v<T>, "fovea::Tensor holds plain numbers only");

 public:
  using value_type = T;

  Tensor() = default;
  explicit Tensor(const Extents<N>& extents) : extents_(extents), data_(allocate(extents)) {
    std::fill_n(data_.get(), size(), T{});
  }
  Tensor(const Tensor& other) : extents_(other.extents_), data_(allocate(other.extents_)) {
    std::copy_n(other.data(), size(), data());
  }
  Tensor(Tensor&& other) noexcept : extents_(std::exchange(other.extents_, Extents<N>{})), data_(std::move(other.data_)) {}
  Tensor& operator=(Tensor other) noexcept {
    std::swap(extents_, other.extents_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~Tensor() = default;

  [[nodiscard]] T* data() noexcept { return data_.get(); }
  [[nodiscard]] const T* data() const noexcept { return data_.get(); }
  [[nodiscard]] Index size() const noexcept { return product(extents_); }
  [[nodiscard]] Index extent(std::size_t i) const noexcept { return extents_[i]; }
  [[nodiscard]] const Extents<N>& extents() const noexcept { return extents_; }
  [[nodiscard]] View<T, N> view() noexcept { return {data(), extents_}; }
  [[nodiscard]] View<const T, N> view() const noexcept { return {data(), extents_}; }
  operator View<T, N>() noexcept { return view(); }              // NOLINT(google-explicit-constructor)
  operator View<const T, N>() const noexcept { return view(); }  // NOLINT(google-explicit-constructor)

  template <class... Indices>
    requires(sizeof...(Indices) == N)
  [[nodiscard]] T& operator()(Indices... indices) noexcept { return view()(indices...); }
  template <class... Indices>
    requires(sizeof...(Indices) == N)
  [[nodiscard]] const T& operator()(Indices... indices) const noexcept { return view()(indices...); }

  [[nodiscard]] T* begin() noexcept { return data(); }
  [[nodiscard]] T* end() noexcept { return data() + size(); }
  [[nodiscard]] const T* begin() const noexcept { return data(); }
  [[nodiscard]] const T* end() const noexcept { return data() + size(); }

 private:
  struct Free {
    void operator()(T* pointer) const noexcept { ::operator delete (pointer, std::align_val_t{kAlignment}); }
  };
  static T* allocate(const Extents<N>& extents) {
    for (const Index e : extents) require(e >= 0, "Tensor: extents of at least 0 expected, ", e, " came");
    const auto bytes = static_cast<std::size_t>(product(extents)) * sizeof(T);
    return static_cast<T*>(::operator new (bytes, std::align_val_t{kAlignment}));
  }

  Extents<N> extents_{};
  std::unique_ptr<T, Free> data_;
};

/// Extents of run-time rank 0 to 4: the shape of a Var or of a parameter. Rank 0 is a scalar.
class Shape {
 public:
  static constexpr std::size_t max_rank = 4;

  constexpr Shape() noexcept = default;
  constexpr Shape(std::initializer_list<Index> extents) : rank_(extents.size()) {
    if (rank_ > max_rank) fail("Shape: rank of at most 4 expected, ", rank_, " came");
    std::copy(extents.begin(), extents.end(), extents_.begin());
  }

  [[nodiscard]] constexpr std::size_t rank() const noexcept { return rank_; }
  [[nodiscard]] constexpr Index operator[](std::size_t i) const noexcept {
    FOVEA_ASSERT(i < rank_);
    return extents_[i];
  }
  [[nodiscard]] constexpr Index size() const noexcept {
    Index n = 1;
    for (std::size_t i = 0; i < rank_; ++i) n *= extents_[i];
    return n;
  }
  /// The first N extents; the rank must be N.
  template <std::size_t N>
  [[nodiscard]] constexpr Extents<N> extents() const noexcept {
    FOVEA_ASSERT(rank_ == N);
    Extents<N> e{};
    std::copy_n(extents_.begin(), N, e.begin());
    return e;
  }
  [[nodiscard]] std::string to_string() const {
    std::string text = "[";
    for (std::size_t i = 0; i < rank_; ++i) {
      if (i > 0) text += 'x';
      text += std::to_string(extents_[i]);
    }
    text += ']';
    return text;
  }
  friend constexpr bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<Index, max_rank> extents_{};
  std::size_t rank_ = 0;
};

}  // namespace fovea::inline FOVEA_ABI
