/*
 * entities.c -- the named character references of HTML.
 *
 * Role     All names of HTML 4 and those of HTML 5 that stand for one character below U+0250
 *          (ASCII punctuation, accented letters).  Sorted by name, as bytes compare: looked up by
 *          halving.
 */
#include "canon_priv.h"

enum { NAME_BYTES_MAX = 24 };

/* clang-format off */
static const struct entity {
    const char *name;
    uint16_t code;
} entities[] = {
    {"AElig", 198}, {"AMP", 38}, {"Aacute", 193}, {"Abreve", 258}, {"Acirc", 194},
    {"Agrave", 192}, {"Alpha", 913}, {"Amacr", 256}, {"Aogon", 260}, {"Aring", 197},
    {"Atilde", 195}, {"Auml", 196}, {"Beta", 914}, {"COPY", 169}, {"Cacute", 262},
    {"Ccaron", 268}, {"Ccedil", 199}, {"Ccirc", 264}, {"Cdot", 266}, {"Cedilla", 184},
    {"CenterDot", 183}, {"Chi", 935}, {"Dagger", 8225}, {"Dcaron", 270}, {"Delta", 916},
    {"DiacriticalAcute", 180}, {"DiacriticalGrave", 96}, {"Dot", 168}, {"DoubleDot", 168},
    {"Dstrok", 272}, {"ENG", 330}, {"ETH", 208}, {"Eacute", 201}, {"Ecaron", 282}, {"Ecirc", 202},
    {"Edot", 278}, {"Egrave", 200}, {"Emacr", 274}, {"Eogon", 280}, {"Epsilon", 917},
    {"Eta", 919}, {"Euml", 203}, {"GT", 62}, {"Gamma", 915}, {"Gbreve", 286}, {"Gcedil", 290},
    {"Gcirc", 284}, {"Gdot", 288}, {"Hat", 94}, {"Hcirc", 292}, {"Hstrok", 294}, {"IJlig", 306},
    {"Iacute", 205}, {"Icirc", 206}, {"Idot", 304}, {"Igrave", 204}, {"Imacr", 298},
    {"Iogon", 302}, {"Iota", 921}, {"Itilde", 296}, {"Iuml", 207}, {"Jcirc", 308}, {"Kappa", 922},
    {"Kcedil", 310}, {"LT", 60}, {"Lacute", 313}, {"Lambda", 923}, {"Lcaron", 317},
    {"Lcedil", 315}, {"Lmidot", 319}, {"Lstrok", 321}, {"Mu", 924}, {"Nacute", 323},
    {"Ncaron", 327}, {"Ncedil", 325}, {"NewLine", 10}, {"NonBreakingSpace", 160}, {"Ntilde", 209},
    {"Nu", 925}, {"OElig", 338}, {"Oacute", 211}, {"Ocirc", 212}, {"Odblac", 336},
    {"Ograve", 210}, {"Omacr", 332}, {"Omega", 937}, {"Omicron", 927}, {"Oslash", 216},
    {"Otilde", 213}, {"Ouml", 214}, {"Phi", 934}, {"Pi", 928}, {"PlusMinus", 177},
    {"Prime", 8243}, {"Psi", 936}, {"QUOT", 34}, {"REG", 174}, {"Racute", 340}, {"Rcaron", 344},
    {"Rcedil", 342}, {"Rho", 929}, {"Sacute", 346}, {"Scaron", 352}, {"Scedil", 350},
    {"Scirc", 348}, {"Sigma", 931}, {"THORN", 222}, {"Tab", 9}, {"Tau", 932}, {"Tcaron", 356},
    {"Tcedil", 354}, {"Theta", 920}, {"Tstrok", 358}, {"Uacute", 218}, {"Ubreve", 364},
    {"Ucirc", 219}, {"Udblac", 368}, {"Ugrave", 217}, {"Umacr", 362}, {"UnderBar", 95},
    {"Uogon", 370}, {"Upsilon", 933}, {"Uring", 366}, {"Utilde", 360}, {"Uuml", 220},
    {"VerticalLine", 124}, {"Wcirc", 372}, {"Xi", 926}, {"Yacute", 221}, {"Ycirc", 374},
    {"Yuml", 376}, {"Zacute", 377}, {"Zcaron", 381}, {"Zdot", 379}, {"Zeta", 918},
    {"aacute", 225}, {"abreve", 259}, {"acirc", 226}, {"acute", 180}, {"aelig", 230},
    {"agrave", 224}, {"alefsym", 8501}, {"alpha", 945}, {"amacr", 257}, {"amp", 38},
    {"and", 8743}, {"ang", 8736}, {"angst", 197}, {"aogon", 261}, {"apos", 39}, {"aring", 229},
    {"ast", 42}, {"asymp", 8776}, {"atilde", 227}, {"auml", 228}, {"bdquo", 8222}, {"beta", 946},
    {"brvbar", 166}, {"bsol", 92}, {"bull", 8226}, {"cacute", 263}, {"cap", 8745},
    {"ccaron", 269}, {"ccedil", 231}, {"ccirc", 265}, {"cdot", 267}, {"cedil", 184},
    {"cent", 162}, {"centerdot", 183}, {"chi", 967}, {"circ", 710}, {"circledR", 174},
    {"clubs", 9827}, {"colon", 58}, {"comma", 44}, {"commat", 64}, {"cong", 8773}, {"copy", 169},
    {"crarr", 8629}, {"cup", 8746}, {"curren", 164}, {"dArr", 8659}, {"dagger", 8224},
    {"darr", 8595}, {"dcaron", 271}, {"deg", 176}, {"delta", 948}, {"diams", 9830}, {"die", 168},
    {"div", 247}, {"divide", 247}, {"dollar", 36}, {"dstrok", 273}, {"eacute", 233},
    {"ecaron", 283}, {"ecirc", 234}, {"edot", 279}, {"egrave", 232}, {"emacr", 275},
    {"empty", 8709}, {"emsp", 8195}, {"eng", 331}, {"ensp", 8194}, {"eogon", 281},
    {"epsilon", 949}, {"equals", 61}, {"equiv", 8801}, {"eta", 951}, {"eth", 240}, {"euml", 235},
    {"euro", 8364}, {"excl", 33}, {"exist", 8707}, {"fnof", 402}, {"forall", 8704},
    {"frac12", 189}, {"frac14", 188}, {"frac34", 190}, {"frasl", 8260}, {"gacute", 501},
    {"gamma", 947}, {"gbreve", 287}, {"gcirc", 285}, {"gdot", 289}, {"ge", 8805}, {"grave", 96},
    {"gt", 62}, {"hArr", 8660}, {"half", 189}, {"harr", 8596}, {"hcirc", 293}, {"hearts", 9829},
    {"hellip", 8230}, {"hstrok", 295}, {"iacute", 237}, {"icirc", 238}, {"iexcl", 161},
    {"igrave", 236}, {"ijlig", 307}, {"imacr", 299}, {"image", 8465}, {"imath", 305},
    {"imped", 437}, {"infin", 8734}, {"inodot", 305}, {"int", 8747}, {"iogon", 303},
    {"iota", 953}, {"iquest", 191}, {"isin", 8712}, {"itilde", 297}, {"iuml", 239},
    {"jcirc", 309}, {"jmath", 567}, {"kappa", 954}, {"kcedil", 311}, {"kgreen", 312},
    {"lArr", 8656}, {"lacute", 314}, {"lambda", 955}, {"lang", 9001}, {"laquo", 171},
    {"larr", 8592}, {"lbrace", 123}, {"lbrack", 91}, {"lcaron", 318}, {"lcedil", 316},
    {"lceil", 8968}, {"lcub", 123}, {"ldquo", 8220}, {"le", 8804}, {"lfloor", 8970},
    {"lmidot", 320}, {"lowast", 8727}, {"lowbar", 95}, {"loz", 9674}, {"lpar", 40}, {"lrm", 8206},
    {"lsaquo", 8249}, {"lsqb", 91}, {"lsquo", 8216}, {"lstrok", 322}, {"lt", 60}, {"macr", 175},
    {"mdash", 8212}, {"micro", 181}, {"midast", 42}, {"middot", 183}, {"minus", 8722},
    {"mu", 956}, {"nabla", 8711}, {"nacute", 324}, {"napos", 329}, {"nbsp", 160}, {"ncaron", 328},
    {"ncedil", 326}, {"ndash", 8211}, {"ne", 8800}, {"ni", 8715}, {"not", 172}, {"notin", 8713},
    {"nsub", 8836}, {"ntilde", 241}, {"nu", 957}, {"num", 35}, {"oacute", 243}, {"ocirc", 244},
    {"odblac", 337}, {"oelig", 339}, {"ograve", 242}, {"oline", 8254}, {"omacr", 333},
    {"omega", 969}, {"omicron", 959}, {"oplus", 8853}, {"or", 8744}, {"ordf", 170}, {"ordm", 186},
    {"oslash", 248}, {"otilde", 245}, {"otimes", 8855}, {"ouml", 246}, {"para", 182},
    {"part", 8706}, {"percnt", 37}, {"period", 46}, {"permil", 8240}, {"perp", 8869},
    {"phi", 966}, {"pi", 960}, {"piv", 982}, {"plus", 43}, {"plusmn", 177}, {"pm", 177},
    {"pound", 163}, {"prime", 8242}, {"prod", 8719}, {"prop", 8733}, {"psi", 968}, {"quest", 63},
    {"quot", 34}, {"rArr", 8658}, {"racute", 341}, {"radic", 8730}, {"rang", 9002},
    {"raquo", 187}, {"rarr", 8594}, {"rbrace", 125}, {"rbrack", 93}, {"rcaron", 345},
    {"rcedil", 343}, {"rceil", 8969}, {"rcub", 125}, {"rdquo", 8221}, {"real", 8476},
    {"reg", 174}, {"rfloor", 8971}, {"rho", 961}, {"rlm", 8207}, {"rpar", 41}, {"rsaquo", 8250},
    {"rsqb", 93}, {"rsquo", 8217}, {"sacute", 347}, {"sbquo", 8218}, {"scaron", 353},
    {"scedil", 351}, {"scirc", 349}, {"sdot", 8901}, {"sect", 167}, {"semi", 59}, {"shy", 173},
    {"sigma", 963}, {"sigmaf", 962}, {"sim", 8764}, {"sol", 47}, {"spades", 9824}, {"strns", 175},
    {"sub", 8834}, {"sube", 8838}, {"sum", 8721}, {"sup", 8835}, {"sup1", 185}, {"sup2", 178},
    {"sup3", 179}, {"supe", 8839}, {"szlig", 223}, {"tau", 964}, {"tcaron", 357}, {"tcedil", 355},
    {"there4", 8756}, {"theta", 952}, {"thetasym", 977}, {"thinsp", 8201}, {"thorn", 254},
    {"tilde", 732}, {"times", 215}, {"trade", 8482}, {"tstrok", 359}, {"uArr", 8657},
    {"uacute", 250}, {"uarr", 8593}, {"ubreve", 365}, {"ucirc", 251}, {"udblac", 369},
    {"ugrave", 249}, {"umacr", 363}, {"uml", 168}, {"uogon", 371}, {"upsih", 978},
    {"upsilon", 965}, {"uring", 367}, {"utilde", 361}, {"uuml", 252}, {"verbar", 124},
    {"vert", 124}, {"wcirc", 373}, {"weierp", 8472}, {"xi", 958}, {"yacute", 253}, {"ycirc", 375},
    {"yen", 165}, {"yuml", 255}, {"zacute", 378}, {"zcaron", 382}, {"zdot", 380}, {"zeta", 950},
    {"zwj", 8205}, {"zwnj", 8204},
};
/* clang-format on */

uint32_t mgc_canon_entity(const char *name, size_t bytes)
{
    size_t low = 0, high = ARRAY_SIZE(entities);

    if (bytes == 0 || bytes > NAME_BYTES_MAX)
        return 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strncmp(entities[middle].name, name, bytes);

        if (order == 0)
            order = entities[middle].name[bytes] == '\0' ? 0 : 1;
        if (order == 0)
            return entities[middle].code;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}
