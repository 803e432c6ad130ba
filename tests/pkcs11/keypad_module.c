/* A PKCS#11 module like a card in a reader with a keypad: it passes everything on to the module named by KEYPAD_OVER,
   and says CKF_PROTECTED_AUTHENTICATION_PATH of every token. A PIN must come as NULL; then the person at the keypad
   types: the first line of the file KEYPAD_TYPES. Every use of the keypad adds "typed WHAT" to the file KEYPAD_LOG; a
   PIN that comes from the program adds "given WHAT" and is refused. Built by test_pin_guard_card.py. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long CK_ULONG;
typedef CK_ULONG CK_RV;
enum { FUNCTIONS = 68 };
enum { GET_FUNCTION_LIST = 3, GET_TOKEN_INFO = 6, INIT_TOKEN = 9, INIT_PIN = 10, SET_PIN = 11, LOGIN = 18 };
enum { FLAGS_AT = 96, CKF_PROTECTED_AUTHENTICATION_PATH = 0x100 };
enum { CKR_GENERAL_ERROR = 0x5, CKR_ARGUMENTS_BAD = 0x7 };

struct list { unsigned char version[2]; void *functions[FUNCTIONS]; };
static struct list own, *real;

static CK_RV keypad(const char *what, const void *given, char *pin, CK_ULONG *length)
{
    FILE *log = fopen(getenv("KEYPAD_LOG"), "a"), *types = fopen(getenv("KEYPAD_TYPES"), "r");
    if (!log || !types || !fgets(pin, 64, types)) return CKR_GENERAL_ERROR;
    fclose(types);
    fprintf(log, "%s %s\n", given ? "given" : "typed", what);
    fclose(log);
    *length = strcspn(pin, "\n");
    return given ? CKR_ARGUMENTS_BAD : 0;
}

static CK_RV get_token_info(CK_ULONG slot, char *info)
{
    CK_RV rv = ((CK_RV (*)(CK_ULONG, char *))real->functions[GET_TOKEN_INFO])(slot, info);
    if (!rv) *(CK_ULONG *)(info + FLAGS_AT) |= CKF_PROTECTED_AUTHENTICATION_PATH;
    return rv;
}

static CK_RV login(CK_ULONG session, CK_ULONG user, char *given, CK_ULONG given_length)
{
    static const char *const users[] = { "so", "user", "context" };
    char pin[64];
    CK_ULONG length;
    CK_RV rv = keypad(users[user], given, pin, &length);
    (void)given_length;
    return rv ? rv : ((CK_RV (*)(CK_ULONG, CK_ULONG, char *, CK_ULONG))real->functions[LOGIN])(session, user, pin, length);
}

static CK_RV init_token(CK_ULONG slot, char *given, CK_ULONG given_length, char *label)
{
    char pin[64];
    CK_ULONG length;
    CK_RV rv = keypad("init-token", given, pin, &length);
    (void)given_length;
    return rv ? rv : ((CK_RV (*)(CK_ULONG, char *, CK_ULONG, char *))real->functions[INIT_TOKEN])(slot, pin, length, label);
}

static CK_RV init_pin(CK_ULONG session, char *given, CK_ULONG given_length)
{
    char pin[64];
    CK_ULONG length;
    CK_RV rv = keypad("init-pin", given, pin, &length);
    (void)given_length;
    return rv ? rv : ((CK_RV (*)(CK_ULONG, char *, CK_ULONG))real->functions[INIT_PIN])(session, pin, length);
}

static CK_RV set_pin(CK_ULONG session, char *old, CK_ULONG old_length, char *new, CK_ULONG new_length)
{
    char pin[64];
    CK_ULONG length;
    CK_RV rv = keypad("set-pin", old ? old : new, pin, &length);
    (void)old_length, (void)new_length;
    return rv ? rv : ((CK_RV (*)(CK_ULONG, char *, CK_ULONG, char *, CK_ULONG))real->functions[SET_PIN])(
                         session, pin, length, pin, length);
}

CK_RV C_GetFunctionList(struct list **list)
{
    void *library = dlopen(getenv("KEYPAD_OVER"), RTLD_NOW | RTLD_LOCAL);
    CK_RV (*get)(struct list **) = library ? (CK_RV (*)(struct list **))dlsym(library, "C_GetFunctionList") : NULL;
    if (!get || get(&real)) return CKR_GENERAL_ERROR;
    own = *real;
    own.functions[GET_FUNCTION_LIST] = (void *)C_GetFunctionList;
    own.functions[GET_TOKEN_INFO] = (void *)get_token_info;
    own.functions[INIT_TOKEN] = (void *)init_token;
    own.functions[INIT_PIN] = (void *)init_pin;
    own.functions[SET_PIN] = (void *)set_pin;
    own.functions[LOGIN] = (void *)login;
    *list = &own;
    return 0;
}
