// SPDX-License-Identifier: Apache-2.0
//
// Where a column_reader finds its columns in the banks of a line_buffer.
//
// The rows of a window are in successive banks, the top one in `top_bank`. Rows in a bank below
// that number have wrapped around into the next slot of their bank, so they are one row of
// addresses further on. With one bank, the rows of a column are read one after the other.
//
// Where a sweep's top row is stored takes a remainder and a product. Both come from a table, which
// is looked up while the sweep before is read.

`default_nettype none

module bank_address #(
    parameter HEIGHT     = 28,  // rows of the image
    parameter OUT_HEIGHT = 26,  // sweeps an image
    parameter STRIDE     = 1,
    parameter PADDING    = 0,
    parameter GROUPS     = 28,  // column groups a row of the image
    parameter ROWS       = 6,   // that the banks hold
    parameter BANKS      = 3,   // rows of a window, or 1
    parameter ADDR_WIDTH = 6,   // bits of an address in a bank
    parameter BANK_WIDTH = (BANKS > 1) ? $clog2(BANKS) : 1
) (
    input  wire                        clk,
    input  wire                        rst,
    input  wire                        read,
    input  wire                        column_last,  // this read is the last of its column
    input  wire                        sweep_last,   // this column is the last of its sweep
    input  wire                        image_next,   // the sweep after the next begins an image
    output wire [BANKS*ADDR_WIDTH-1:0] read_addr,
    output wire [BANK_WIDTH-1:0]       top_bank
);

    localparam DEPTH      = ROWS / BANKS * GROUPS;  // of a bank
    localparam LINE_WIDTH = (ROWS > 1) ? $clog2(ROWS) : 1;
    localparam ENTRY_BITS = 2*ADDR_WIDTH + BANK_WIDTH + 2*LINE_WIDTH;
    localparam ENTRY_SIZE = 1 << $clog2(ENTRY_BITS + 1);  // a power of two, so no product

    // A line is one of the ROWS places of a row. The top line of the first sweep, and how far it
    // moves from sweep to sweep and from the last sweep of an image to the next image.
    localparam FIRST_LINE = (ROWS - PADDING) % ROWS;
    localparam STEP_LINES = STRIDE % ROWS;
    localparam TURN_LINES = (HEIGHT - (OUT_HEIGHT - 1)*STRIDE + 2*PADDING*ROWS) % ROWS;

    // Of a top line: its address, the address one slot further on, its bank, and the top line of
    // the next sweep, in this image or in the next one.
    // Only as many bits of these integers are used as their values need.
    /* verilator lint_off UNUSEDSIGNAL */
    function [ENTRY_BITS-1:0] entry;
        input integer line;
        integer       top, wrapped, bank, stepped, turned;
        begin
            top     = line / BANKS * GROUPS;
            wrapped = (top + GROUPS) % DEPTH;
            bank    = line % BANKS;
            stepped = (line + STEP_LINES) % ROWS;
            turned  = (line + TURN_LINES) % ROWS;
            entry   = {turned[LINE_WIDTH-1:0], stepped[LINE_WIDTH-1:0], bank[BANK_WIDTH-1:0],
                       wrapped[ADDR_WIDTH-1:0], top[ADDR_WIDTH-1:0]};
        end
    endfunction
    /* verilator lint_on UNUSEDSIGNAL */

    wire [ROWS*ENTRY_SIZE-1:0] entries;

    genvar number;
    generate
        for (number = 0; number < ROWS; number = number + 1) begin : gen_entry
            localparam [ENTRY_BITS-1:0] ENTRY = entry(number);
            assign entries[number*ENTRY_SIZE +: ENTRY_SIZE] =
                {{(ENTRY_SIZE-ENTRY_BITS){1'b0}}, ENTRY};
        end
    endgenerate

    localparam [ENTRY_BITS-1:0] START         = entry(FIRST_LINE);
    localparam [ADDR_WIDTH-1:0] TOP_START     = START[0 +: ADDR_WIDTH];
    localparam [ADDR_WIDTH-1:0] WRAPPED_START = START[ADDR_WIDTH +: ADDR_WIDTH];
    localparam [BANK_WIDTH-1:0] BANK_START    = START[2*ADDR_WIDTH +: BANK_WIDTH];
    localparam [LINE_WIDTH-1:0] LINE_SECOND   =
        START[2*ADDR_WIDTH + BANK_WIDTH + ((OUT_HEIGHT > 1) ? 0 : LINE_WIDTH) +: LINE_WIDTH];

    reg  [LINE_WIDTH-1:0] ahead_reg = LINE_SECOND;  // top line of the next sweep
    wire [ADDR_WIDTH-1:0] top_next, wrapped_next;
    wire [BANK_WIDTH-1:0] bank_next;
    wire [LINE_WIDTH-1:0] stepped, turned;
    assign {turned, stepped, bank_next, wrapped_next, top_next} =
        entries[ahead_reg*ENTRY_SIZE +: ENTRY_BITS];

    wire column_done = read && column_last;
    wire sweep_done  = column_done && sweep_last;

    reg  [ADDR_WIDTH-1:0] top_reg = TOP_START;  // address of this column's top row

    always @(posedge clk) begin
        if (column_done)
            top_reg <= sweep_last ? top_next : top_reg + 1'b1;
        if (sweep_done)
            ahead_reg <= image_next ? turned : stepped;
        if (rst) begin
            top_reg   <= TOP_START;
            ahead_reg <= LINE_SECOND;
        end
    end

    genvar bank;
    generate
        if (BANKS == 1) begin : gen_row_by_row
            localparam [ADDR_WIDTH-1:0] ROW_STEP = GROUPS[ADDR_WIDTH-1:0];
            localparam [ADDR_WIDTH-1:0] LAST_ROW = DEPTH[ADDR_WIDTH-1:0] - ROW_STEP;
            reg  [ADDR_WIDTH-1:0] addr_reg = TOP_START;
            wire                  unused   = &{1'b0, wrapped_next, bank_next};

            assign read_addr = addr_reg;
            assign top_bank  = 1'b0;

            always @(posedge clk) begin
                if (read) begin
                    if (column_last)
                        addr_reg <= sweep_last ? top_next : top_reg + 1'b1;
                    else
                        addr_reg <= (addr_reg >= LAST_ROW) ? addr_reg - LAST_ROW
                                                           : addr_reg + ROW_STEP;
                end
                if (rst)
                    addr_reg <= TOP_START;
            end
        end else begin : gen_side_by_side
            reg [ADDR_WIDTH-1:0] wrapped_reg = WRAPPED_START;
            reg [BANK_WIDTH-1:0] bank_reg    = BANK_START;

            assign top_bank = bank_reg;

            always @(posedge clk) begin
                if (column_done)
                    wrapped_reg <= sweep_last ? wrapped_next : wrapped_reg + 1'b1;
                if (sweep_done)
                    bank_reg <= bank_next;
                if (rst) begin
                    wrapped_reg <= WRAPPED_START;
                    bank_reg    <= BANK_START;
                end
            end

            for (bank = 0; bank < BANKS - 1; bank = bank + 1) begin : gen_bank
                localparam [BANK_WIDTH-1:0] NUMBER = bank;
                reg below_reg = BANK_START > NUMBER;  // it is below the top row's bank
                always @(posedge clk) begin
                    if (sweep_done)
                        below_reg <= bank_next > NUMBER;
                    if (rst)
                        below_reg <= BANK_START > NUMBER;
                end
                assign read_addr[bank*ADDR_WIDTH +: ADDR_WIDTH] = below_reg ? wrapped_reg : top_reg;
            end
            assign read_addr[(BANKS-1)*ADDR_WIDTH +: ADDR_WIDTH] = top_reg;
        end
    endgenerate

endmodule

`default_nettype wire
