// SPDX-License-Identifier: Apache-2.0

/// The version of this build, of all its programs.
public enum SockmeshVersion {
    /// Semantic version.
    public static let current = "0.1.0"
}
