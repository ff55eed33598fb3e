//! The shape of types, learnt from how they are read: every structure with its fields, every enumeration with its
//! variants, in the order in which they are written. A reader that invents what it is asked for writes down what that
//! was; it is asked until nothing new comes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::{Deserializer, forward_to_deserialize_any};

/// So many readings without anything new end the search.
const QUIET: u32 = 1_000;

/// A type: its name, and what its parts are called. Two types may have one name.
type Key = (String, Vec<String>);

/// The shapes found so far.
#[derive(Default)]
pub(crate) struct Shapes {
    found: RefCell<Found>,
}

#[derive(Default)]
struct Found {
    types: BTreeMap<Key, BTreeMap<usize, String>>,
    /// What was read last, in words.
    last: String,
    news: bool,
    turn: u64,
}

impl Found {
    fn note(&mut self, key: &Key, at: usize, line: String) {
        let lines = self.types.entry(key.clone()).or_default();
        if lines.get(&at) != Some(&line) {
            assert!(!lines.contains_key(&at), "{key:?} has two shapes: {:?} and {line:?}", lines.get(&at));
            lines.insert(at, line);
            self.news = true;
        }
    }

    /// Which variant to invent: every one in its turn, in no order that could miss a combination.
    fn pick(&mut self, of: usize) -> usize {
        self.turn = self.turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.turn >> 33).unwrap() % of
    }
}

impl Shapes {
    /// Learns the shape of a type, and of everything in it.
    pub(crate) fn follow<T: DeserializeOwned>(&mut self) {
        let mut quiet = 0;
        while quiet < QUIET {
            let read = T::deserialize(Reader(&self.found));
            read.map(drop).unwrap_or_else(|error| panic!("{}: {error}", std::any::type_name::<T>()));
            quiet = if std::mem::take(&mut self.found.borrow_mut().news) { 0 } else { quiet + 1 };
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for ((name, _), lines) in &self.found.borrow().types {
            text.push_str(&format!("{name}\n"));
            lines.values().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
        text
    }
}

#[derive(Debug)]
struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

impl Error for Wrong {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

#[derive(Clone, Copy)]
struct Reader<'a>(&'a RefCell<Found>);

impl Reader<'_> {
    fn says(self, what: impl Into<String>) {
        self.0.borrow_mut().last = what.into();
    }

    fn last(self) -> String {
        std::mem::take(&mut self.0.borrow_mut().last)
    }
}

macro_rules! plain {
    ($($method:ident $visit:ident $value:expr, $word:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            let value = visitor.$visit($value);
            self.says($word);
            value
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Wrong;

    plain! {
        deserialize_bool visit_bool true, "bool";
        deserialize_u8 visit_u8 1, "u8";
        deserialize_u16 visit_u16 1, "u16";
        deserialize_u32 visit_u32 1, "u32";
        deserialize_u64 visit_u64 1, "u64";
        deserialize_u128 visit_u128 1, "u128";
        deserialize_i8 visit_i8 1, "i8";
        deserialize_i16 visit_i16 1, "i16";
        deserialize_i32 visit_i32 1, "i32";
        deserialize_i64 visit_i64 1, "i64";
        deserialize_f64 visit_f64 1.0, "f64";
        deserialize_char visit_char 'a', "char";
        deserialize_str visit_str "a", "text";
        deserialize_string visit_str "a", "text";
        deserialize_bytes visit_bytes b"a", "bytes";
        deserialize_byte_buf visit_bytes b"a", "bytes";
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Wrong> {
        Err(Wrong("what is stored must say which type it wants to be read as".into()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let value = visitor.visit_some(self);
        let inner = self.last();
        self.says(format!("option of {inner}"));
        value
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.says("nothing");
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, v: V) -> Result<V::Value, Wrong> {
        self.says(name);
        v.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        v: V,
    ) -> Result<V::Value, Wrong> {
        let value = v.visit_newtype_struct(self);
        let inner = self.last();
        self.0.borrow_mut().note(&(name.to_owned(), Vec::new()), 0, inner);
        self.says(name);
        value
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let value = visitor.visit_seq(Parts { reader: self, left: 1, seen: &mut Vec::new() });
        let inner = self.last();
        self.says(format!("list of {inner}"));
        value
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let mut seen = Vec::new();
        let value = visitor.visit_map(Parts { reader: self, left: 2, seen: &mut seen });
        self.says(format!("map of {}", seen.join(" to ")));
        value
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Wrong> {
        let mut seen = Vec::new();
        let value = visitor.visit_seq(Parts { reader: self, left: len, seen: &mut seen });
        self.says(format!("({})", seen.join(", ")));
        value
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let value = self.deserialize_tuple(len, visitor);
        let inner = self.last();
        self.0.borrow_mut().note(&(name.to_owned(), Vec::new()), 0, inner);
        self.says(name);
        value
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let mut seen = Vec::new();
        let value = visitor.visit_seq(Parts { reader: self, left: fields.len(), seen: &mut seen });
        let key = (name.to_owned(), fields.iter().map(|f| (*f).to_owned()).collect());
        for (at, (field, what)) in fields.iter().zip(seen).enumerate() {
            self.0.borrow_mut().note(&key, at, format!("{field}: {what}"));
        }
        self.says(name);
        value
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let chosen = self.0.borrow_mut().pick(variants.len());
        let value = visitor.visit_enum(Chosen { reader: self, number: chosen });
        let inner = self.last();
        let key = (format!("enum {name}"), variants.iter().map(|v| (*v).to_owned()).collect());
        let line = format!("{chosen:>2} {} {inner}", variants[chosen]);
        self.0.borrow_mut().note(&key, chosen, line.trim_end().to_owned());
        self.says(name);
        value
    }

    forward_to_deserialize_any! { i128 f32 identifier ignored_any }
}

/// The parts of something, one after the other.
struct Parts<'a, 'b> {
    reader: Reader<'a>,
    left: usize,
    seen: &'b mut Vec<String>,
}

impl Parts<'_, '_> {
    fn next<'de, T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let value = seed.deserialize(self.reader)?;
        let what = self.reader.last();
        self.seen.push(what.clone());
        self.reader.says(what);
        Ok(Some(value))
    }
}

impl<'de> SeqAccess<'de> for Parts<'_, '_> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        self.next(seed)
    }
}

impl<'de> MapAccess<'de> for Parts<'_, '_> {
    type Error = Wrong;

    fn next_key_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        self.next(seed)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Wrong> {
        self.next(seed)?.ok_or_else(|| Wrong("a value without its key".into()))
    }
}

/// One variant of an enumeration.
struct Chosen<'a> {
    reader: Reader<'a>,
    number: usize,
}

impl<'de> EnumAccess<'de> for Chosen<'_> {
    type Error = Wrong;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Wrong> {
        let number: U32Deserializer<Wrong> = u32::try_from(self.number).unwrap().into_deserializer();
        Ok((seed.deserialize(number)?, self))
    }
}

impl<'de> VariantAccess<'de> for Chosen<'_> {
    type Error = Wrong;

    fn unit_variant(self) -> Result<(), Wrong> {
        self.reader.says("");
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Wrong> {
        seed.deserialize(self.reader)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Wrong> {
        self.reader.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let mut seen = Vec::new();
        let value = visitor.visit_seq(Parts { reader: self.reader, left: fields.len(), seen: &mut seen });
        let parts: Vec<String> = fields.iter().zip(seen).map(|(f, what)| format!("{f}: {what}")).collect();
        self.reader.says(format!("{{ {} }}", parts.join(", ")));
        value
    }
}
