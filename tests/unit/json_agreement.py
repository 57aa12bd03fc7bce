#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""P6: lib/json and a second strict decoder, written in another language on another parser, take the same texts and read the
same from them: every case a specification names, and as many as asked for that a generator makes of good ones.
Usage: json_agreement.py JSON_VERDICT [COUNT [SEED]]"""
import json
import random
import re
import subprocess
import sys

INTEGER_MAX = 2**53 - 1
DEPTH_MAX = 8


class Refused(Exception):
    pass


def refuse(*_):
    raise Refused


def integer(text):
    value = int(text)
    if text == "-0" or abs(value) > INTEGER_MAX:
        raise Refused
    return value


def members(pairs):
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise Refused
    return dict(pairs)


def inspect(value, depth):
    """What the decoder's hooks cannot see."""
    if isinstance(value, (dict, list)):
        if depth > DEPTH_MAX:
            raise Refused
        inner = value if isinstance(value, list) else [*value, *value.values()]
        for one in inner:
            inspect(one, depth + 1)
    elif isinstance(value, str):
        if "\0" in value or any(0xd800 <= ord(c) <= 0xdfff for c in value):
            raise Refused
    elif value is None:
        raise Refused


DECODER = json.JSONDecoder(object_pairs_hook=members, parse_float=refuse, parse_int=integer, parse_constant=refuse, strict=True)


def second(data):
    """The value, or Refused."""
    try:
        text = data.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise Refused from error
    # The parser recurses: what is too deep anyway must not reach it.
    deep, in_string = 0, False
    for piece in re.findall(r'\\.|["\[\]{}]', text, re.S):
        if piece == '"':
            in_string = not in_string
        elif not in_string and piece in "[{":
            deep += 1
            if deep > 200:
                raise Refused
        elif not in_string and piece in "]}":
            deep -= 1
    start = len(text) - len(text.lstrip(" \t\n\r"))
    try:
        value, end = DECODER.raw_decode(text, start)
    except (json.JSONDecodeError, RecursionError, ValueError) as error:
        raise Refused from error
    if text[end:].strip(" \t\n\r"):
        raise Refused
    inspect(value, 1)
    return value


GOOD = [b'{}', b'[]', b'0', b'-1', b'""', b'true', b' {"a" : [ 1 , 2 ] } \n', b'{"v":1,"commands":[{"id":"c1","do":"user.ensure","user":"alice"}]}',
        b'"\\u00e9\\ud83d\\ude00\\n\\/"', '"é😀\u2028"'.encode(), b'[[[[[[[[]]]]]]]]', b'9007199254740991', b'-9007199254740991',
        b'{"a":{"b":{"c":{"d":{"e":{"f":{"g":{}}}}}}}}', b'{"__proto__":1,"us\\u0065r":"x"}', b'\t\r\n 1', b'"\x7f"', b'{"":0}']
BAD = [b'', b' ', b'{', b'}', b'[1,]', b'{"a":1,}', b'[,1]', b'{,}', b'[1 2]', b'{"a" 1}', b'{"a"}', b'{a:1}', b"{'a':1}", b'[1]x', b'{}{}', b'1 2',
       b'\xef\xbb\xbf{}', '{}'.encode('utf-16'), '{}'.encode('utf-16-le'), b'{"a":1,"a":1}', b'{"a":1,"\\u0061":2}', b'"\\u0000"', b'"a\0b"', b'\0', b'{}\0',
       b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\ud83d\\u0041"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xff"', b'"\xe2\x82"', b'"\n"', b'"\t"',
       b'"\x1f"', b'"\\x41"', b'"\\u12g4"', b'"\\u12"', b'"\\', b'"', b'"a', b'1.0', b'1e3', b'1E400', b'-0', b'-', b'+1', b'01', b'-01', b'.5', b'1.', b'0x10',
       b'9007199254740992', b'-9007199254740992', b'9223372036854775808', b'18446744073709551616', b'1' + b'0' * 400, b'NaN', b'Infinity', b'-Infinity', b'null', b'[null]',
       b'{"a":null}', b'TRUE', b'tru', b'falsee', b'/* */1', b'// \n1', b'[1]#', b'[[[[[[[[[]]]]]]]]]', b'[' * 100000, b'{"a":' * 100000, b'\x0b1', b'\x0c1', b'1\xc2\xa0',
       b'\xc2\xa0 1', b'"\\\xc3\xa9"', b'[1\n,\n"a\n"]', b'["a",\n4\n,1,,]', b'{"a":"b"}/**/', b'["' + b'\\u005']


def generated(random_, depth=1):
    kind = random_.randrange(9 if depth < 10 else 6)
    space = random_.choice([b"", b"", b" ", b"\n\t"])
    if kind == 0:
        return b"%d" % random_.choice([0, 1, -1, 7, INTEGER_MAX, INTEGER_MAX + 1, -INTEGER_MAX, 2**63, random_.randrange(-10**17, 10**17)])
    if kind == 1:
        return random_.choice([b"true", b"false", b"null", b"1.5", b"1e9", b"-0", b"00"]) if random_.random() < .3 else b"true"
    if kind < 6:
        return b'"' + b"".join(random_.choice([b"a", b"z", b"\\n", b"\\u0041", b"\\ud83d\\ude00", b"\\ud800", "é".encode(), "😀".encode(), b"\\\\", b'\\"', b"\\u0000", b"\x1f",
                                               b" ", b"/", b"\\/"][:random_.choice([4, 10, 15, 5, 8])]) for _ in range(random_.randrange(6))) + b'"'
    many = [generated(random_, depth + 1) for _ in range(random_.randrange(4))]
    if kind < 8:
        return b"{" + space + b",".join(b'"%s"%s:%s' % (random_.choice([b"a", b"b", b"c", b"d", b"\\u0061", b"key"]), space, one) for one in many) + b"}"
    return b"[" + (b"," + space).join(many) + space + b"]"


PIECES = [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"0", b"-", b".", b"e1", b"null", b"\0", b"\xff", b"\xc3", b"\xa9", b" ", b"\n", b"\xef\xbb\xbf", b"\x0c"]


def mutated(random_, text):
    for _ in range(random_.choice([0, 1, 1, 2, 3])):
        at = random_.randrange(len(text) + 1)
        how = random_.randrange(4)
        if how == 0:
            text = text[:at] + random_.choice(PIECES) + text[at:]
        elif how == 1:
            text = text[:at] + text[at + random_.randrange(1, 4):]
        elif how == 2 and text:
            at = at % len(text)
            text = text[:at] + bytes([text[at] ^ (1 << random_.randrange(8))]) + text[at + 1:]
        else:
            text = text[:at] + text[random_.randrange(len(text) + 1):]
    return text


def main():
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 40000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    random_ = random.Random(seed)
    samples = GOOD + BAD + [mutated(random_, generated(random_) if random_.random() < .8 else random_.choice(GOOD + BAD[:90])) for _ in range(count)]
    samples = [sample for sample in samples if len(sample) < 1 << 20]
    done = subprocess.run([sys.argv[1]], input=b"".join(b"%d\n%s" % (len(sample), sample) for sample in samples), stdout=subprocess.PIPE, check=True)
    lines = done.stdout.split(b"\n")[:-1]
    assert len(lines) == len(samples), (len(lines), len(samples))
    taken = 0
    for number, (sample, line) in enumerate(zip(samples, lines)):
        try:
            expected = ("yes", second(sample))
        except Refused:
            expected = ("no",)
        found = ("yes", json.loads(line[4:])) if line.startswith(b"yes ") else ("no",)
        # True == 1 in Python: the texts are compared, not the values.
        assert json.dumps(found) == json.dumps(expected), f"sample {number} of seed {seed}: {sample!r}: {found} here, {expected} there"
        if number < len(GOOD) + len(BAD):
            assert (found[0] == "yes") == (number < len(GOOD)), f"{sample!r}: {found[0]}"
        taken += found[0] == "yes"
    print(f"{len(samples)} texts, {taken} taken by both, {len(samples) - taken} refused by both, and the same was read (seed {seed})")
    assert taken > count // 20


main()
