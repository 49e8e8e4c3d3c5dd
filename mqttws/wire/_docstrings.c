/* Gives compiled modules, classes and functions the docstrings of their source: mypyc leaves them out.
 *
 * document() goes through DOCSTRINGS, a table that setup.py writes from the source when it builds
 * ({module, name in the module, text}). A function's and a method's text goes behind the signature
 * that mypyc wrote into its definition; a class and a module are given theirs as __doc__.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#include "mqttws_docstrings.h" /* DOCSTRINGS, ended by {NULL, NULL, NULL} */

#define END_OF_SIGNATURE "--\n\n"

/* Put the text behind the signature. The memory lives as long as the definition: for ever. */
static int append(const char **doc, const char *text)
{
    const char *end = *doc == NULL ? NULL : strstr(*doc, END_OF_SIGNATURE);
    size_t signature = end == NULL ? 0 : (size_t)(end - *doc) + strlen(END_OF_SIGNATURE);
    char *whole = PyMem_RawMalloc(signature + strlen(text) + 1);
    if (whole == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (signature > 0)
        memcpy(whole, *doc, signature);
    strcpy(whole + signature, text);
    *doc = whole;
    return 0;
}

static int set(PyObject *target, const char *text)
{
    PyTypeObject *type = Py_TYPE(target);
    if (type == &PyMethodDescr_Type || type == &PyClassMethodDescr_Type)
        return append(&((PyMethodDescrObject *)target)->d_method->ml_doc, text);
    if (type == &PyGetSetDescr_Type)
        return append(&((PyGetSetDescrObject *)target)->d_getset->doc, text);
    if (PyCFunction_Check(target))
        return append(&((PyCFunctionObject *)target)->m_ml->ml_doc, text);
    if (!PyType_Check(target) && !PyModule_Check(target))
        return 0; /* what the compiler made of it has no place for a text */
    PyObject *string = PyUnicode_FromString(text);
    if (string == NULL)
        return -1;
    int failed = PyObject_SetAttrString(target, "__doc__", string);
    Py_DECREF(string);
    return failed;
}

/* Return what a name such as "Publish.encode" stands for, as it lies in its class, or NULL. */
static PyObject *find(PyObject *module, const char *name)
{
    const char *dot = strchr(name, '.');
    if (dot == NULL)
        return PyObject_GetAttrString(module, name);
    PyObject *first = PyUnicode_FromStringAndSize(name, dot - name), *found = NULL;
    PyObject *owner = first == NULL ? NULL : PyObject_GetAttr(module, first);
    PyObject *members = owner == NULL ? NULL : PyObject_GetAttrString(owner, "__dict__");
    if (members != NULL)
        found = PyMapping_GetItemString(members, dot + 1);
    Py_XDECREF(first);
    Py_XDECREF(owner);
    Py_XDECREF(members);
    return found;
}

static PyObject *document(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    for (int i = 0; DOCSTRINGS[i].module != NULL; i++) {
        PyObject *target = PyImport_ImportModule(DOCSTRINGS[i].module);
        if (target == NULL)
            return NULL;
        if (DOCSTRINGS[i].name[0] != '\0') {
            PyObject *module = target;
            target = find(module, DOCSTRINGS[i].name);
            Py_DECREF(module);
        }
        if (target == NULL) {
            PyErr_Clear(); /* compiled away */
            continue;
        }
        int failed = set(target, DOCSTRINGS[i].text);
        Py_DECREF(target);
        if (failed)
            return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"document", document, METH_NOARGS, "document(): see the head of _docstrings.c"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_docstrings", "Docstrings of the compiled codec.", -1, methods,
};

PyMODINIT_FUNC PyInit__docstrings(void)
{
    return PyModule_Create(&definition);
}
