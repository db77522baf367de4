// Proves what core/settlement.hpp promises: which settlements are read, and what the others are
// refused with.
#include "core/settlement.hpp"

#include <initializer_list>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace attribution::core {
namespace {

/// A member of an object, as a document has it.
struct Member {
    std::string key;
    JsonKind kind;
    std::string text = {};
};

/// A node of a document whose containers hold nothing.
JsonNode node(JsonKind kind, std::size_t end, std::string_view key, std::string_view text) {
    JsonNode node;
    node.kind = kind;
    node.end = static_cast<std::uint32_t>(end);
    node.key = key;
    node.text = text;
    return node;
}

/// A document of one object.
class Element {
public:
    Element(std::initializer_list<Member> members) : members_(members) {
        nodes_.push_back(node(JsonKind::object, members_.size() + 1, "", ""));
        nodes_.front().size = static_cast<std::uint32_t>(members_.size());
        for (const Member& member : members_)
            nodes_.push_back(node(member.kind, nodes_.size() + 1, member.key, member.text));
    }

    [[nodiscard]] Json json() const { return Json(nodes_); }
    void remove_member(std::size_t number) { nodes_.at(number + 1).is_removed = true; }

private:
    std::vector<Member> members_;
    std::vector<JsonNode> nodes_;
};

Settlement read(const Element& element) {
    return read_settlement(element.json(), 7);
}

Cents read_amount(const std::string& digits) {
    return read({{"key", JsonKind::string, "k"}, {"amount_cents", JsonKind::number, digits}})
        .amount_cents;
}

/// The detail with which the element is refused.
std::string refusal(Json element) {
    try {
        read_settlement(element, 7);
    } catch (const Error& error) {
        EXPECT_EQ(error.fault(), Fault::invalid_value);
        EXPECT_STREQ(error.what(), "invalid settlements");
        EXPECT_EQ(error.hint(),
                  R"(Settlements are an array of {"key": "...", "amount_cents": ...}.)");
        return error.detail();
    }
    return "it was read";
}

std::string refusal(const Element& element) {
    return refusal(element.json());
}

std::string refusal_of_key(JsonKind kind, const std::string& text) {
    return refusal(Element{{"key", kind, text}, {"amount_cents", JsonKind::number, "1"}});
}

std::string refusal_of_amount(JsonKind kind, const std::string& text) {
    return refusal(Element{{"key", JsonKind::string, "k"}, {"amount_cents", kind, text}});
}

TEST(Settlement, HasAKeyAndAnAmount) {
    const Element element = {{"key", JsonKind::string, "shop:order:1"},
                             {"amount_cents", JsonKind::number, "100"}};
    const Settlement settlement = read(element);
    EXPECT_EQ(settlement.key, "shop:order:1");
    EXPECT_EQ(settlement.amount_cents, 100);
}

TEST(Settlement, IgnoresOrderAndOtherMembers) {
    const Element element = {{"note", JsonKind::null},
                             {"amount_cents", JsonKind::number, "-5"},
                             {"amount", JsonKind::number, "7"},
                             {"key", JsonKind::string, "k"},
                             {"Key", JsonKind::string, "K"}};
    EXPECT_EQ(read(element).key, "k");
    EXPECT_EQ(read(element).amount_cents, -5);
}

TEST(Settlement, ReadsWholeNumbersOfAnySpelling) {
    EXPECT_EQ(read_amount("0"), 0);
    EXPECT_EQ(read_amount("-0"), 0);
    EXPECT_EQ(read_amount("79.00"), 79);
    EXPECT_EQ(read_amount("9007199254740993"), 9007199254740993); // a double has no such number
    EXPECT_EQ(read_amount("9223372036854775807"), std::numeric_limits<Cents>::max());
    EXPECT_EQ(read_amount("-9223372036854775808"), std::numeric_limits<Cents>::min());
    EXPECT_EQ(read_amount("9223372036854775807.000"), std::numeric_limits<Cents>::max());
}

TEST(Settlement, RefusesAmountsThatAreNoWholeNumbers) {
    const std::string detail =
        "Element 7: amount_cents is not a whole number in the range of bigint.";
    for (const char* digits : {"1.5", "0.10", "-0.01", "9223372036854775808",
                               "-9223372036854775809", "100000000000000000000", "NaN", "Infinity"})
        EXPECT_EQ(refusal_of_amount(JsonKind::number, digits), detail) << digits;
    EXPECT_EQ(refusal_of_amount(JsonKind::number, "1" + std::string(1000, '0')), detail);
    EXPECT_EQ(refusal_of_amount(JsonKind::string, "1"), detail);
    for (const JsonKind kind :
         {JsonKind::null, JsonKind::boolean, JsonKind::array, JsonKind::object})
        EXPECT_EQ(refusal_of_amount(kind, ""), detail);
    EXPECT_EQ(refusal(Element{{"key", JsonKind::string, "k"}}),
              "Element 7: amount_cents is missing.");
}

TEST(Settlement, RefusesKeysThatAreNoTexts) {
    for (const JsonKind kind :
         {JsonKind::null, JsonKind::boolean, JsonKind::number, JsonKind::array, JsonKind::object})
        EXPECT_EQ(refusal_of_key(kind, "5"), "Element 7: key is not a text.");
    EXPECT_EQ(refusal(Element{{"amount_cents", JsonKind::number, "1"}}),
              "Element 7: key is missing.");
    EXPECT_EQ(refusal_of_key(JsonKind::string, ""), "Element 7: key is empty.");
}

TEST(Settlement, LimitsTheKey) {
    EXPECT_EQ(refusal_of_key(JsonKind::string, std::string(255, 'x')), "it was read");
    EXPECT_EQ(refusal_of_key(JsonKind::string, std::string(256, 'x')),
              "Element 7: key has 256 bytes, at most 255 are allowed.");
}

TEST(Settlement, SaysWhatIsWrongWithTheKeyFirst) {
    EXPECT_EQ(refusal(Element{}), "Element 7: key is missing.");
    EXPECT_EQ(refusal(Element{{"key", JsonKind::null}, {"amount_cents", JsonKind::null}}),
              "Element 7: key is not a text.");
}

TEST(Settlement, IsAnObject) {
    for (const JsonKind kind :
         {JsonKind::null, JsonKind::boolean, JsonKind::number, JsonKind::string, JsonKind::array}) {
        const std::vector<JsonNode> nodes = {node(kind, 1, "", "5")};
        EXPECT_EQ(refusal(Json(nodes)), "Element 7: it is not an object.");
    }
    EXPECT_EQ(refusal(Json()), "Element 7: it is not an object.");
}

TEST(Settlement, RemovedMembersAreNotThere) {
    Element element = {{"key", JsonKind::string, "k"}, {"amount_cents", JsonKind::number, "1"}};
    element.remove_member(1);
    EXPECT_EQ(refusal(element), "Element 7: amount_cents is missing.");
}

TEST(Settlements, AreAnArray) {
    try {
        throw_not_an_array_of_settlements();
    } catch (const Error& error) {
        EXPECT_EQ(error.fault(), Fault::invalid_value);
        EXPECT_STREQ(error.what(), "invalid settlements");
        EXPECT_EQ(error.detail(), "It is not an array.");
    }
}

} // namespace
} // namespace attribution::core
