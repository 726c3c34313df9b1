// SPDX-License-Identifier: Apache-2.0

/// A time as RFC 3339 writes it, without a calendar library.
struct CivilTime {
    private let microseconds: UInt64

    /// - Parameter microseconds: since 1970-01-01T00:00:00Z. Years after 9999 are written as 9999-12-31.
    init(microseconds: UInt64) { self.microseconds = min(microseconds, 253_402_300_799_999_999) }

    /// Year, month from 1, day from 1.
    ///
    /// https://howardhinnant.github.io/date_algorithms.html (civil_from_days): years begin in March, so that the leap day
    /// is the last of its year.
    static func date(daysSince1970 days: UInt64) -> (year: UInt64, month: UInt64, day: UInt64) {
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }

    /// `2025-01-31T23:59:59.123456Z`
    typealias Text = InlineArray<27, UInt8>

    var text: Text {
        let seconds = microseconds / 1_000_000
        let date = Self.date(daysSince1970: seconds / 86_400)
        let time = seconds % 86_400
        var text = Text(repeating: 0)
        Self.put(date.year, 4, at: 0, then: 0x2d, in: &text)
        Self.put(date.month, 2, at: 5, then: 0x2d, in: &text)
        Self.put(date.day, 2, at: 8, then: 0x54, in: &text)
        Self.put(time / 3600, 2, at: 11, then: 0x3a, in: &text)
        Self.put(time / 60 % 60, 2, at: 14, then: 0x3a, in: &text)
        Self.put(time % 60, 2, at: 17, then: 0x2e, in: &text)
        Self.put(microseconds % 1_000_000, 6, at: 20, then: 0x5a, in: &text)
        return text
    }

    private static func put(
        _ number: UInt64, _ digits: Int, at place: Int, then separator: UInt8, in text: inout Text
    ) {
        var rest = number
        for index in (place..<place + digits).reversed() {
            text[index] = UInt8(truncatingIfNeeded: rest % 10) + 0x30
            rest /= 10
        }
        text[place + digits] = separator
    }
}
