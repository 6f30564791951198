// SPDX-License-Identifier: Apache-2.0
//
// Reads the columns of windows from the banks of a line_buffer, in the order in which a
// window_register wants them. It sweeps over the image once for each row of windows.
//
// - A sweep reads SWEEP column groups of KERNEL rows, DILATION rows apart. Groups right of the
//   image are PAD_CODE, and so are rows above and below it.
// - A column may be read as soon as the image's lowest row that it needs has come in so far, and
//   the window_register has room for it.
// - With several banks, a column is read in a clock and its rows are sorted into the window's
//   order. With one bank, it is read row by row.
//
// Latency: 2 clocks from `read` to what is read, on `unit`.

`default_nettype none

module column_reader #(
    parameter HEIGHT     = 28,  // rows of the image
    parameter OUT_HEIGHT = 26,  // sweeps an image
    parameter KERNEL     = 3,   // rows of a column
    parameter STRIDE     = 1,
    parameter PADDING    = 0,   // rows above the image, fewer than a window covers
    parameter DILATION   = 1,   // rows of the image from one row of a column to the next
    parameter PAD_CODE   = 0,   // every value of the padding
    parameter GROUPS     = 28,  // column groups a row of the image
    parameter SWEEP      = 28,  // column groups to read a sweep
    parameter ROWS       = 6,   // that the banks hold
    parameter BANKS      = 3,   // enough for the rows of a column, see sliding_window; or 1
    parameter GROUP_BITS = 8,   // bits of a group of one row
    parameter FREE_WIDTH = 5,   // bits of a signed number of rows
    parameter ADDR_WIDTH = 6,   // bits of an address in a bank
    parameter UNIT_BITS  = (BANKS > 1) ? KERNEL*GROUP_BITS : GROUP_BITS
) (
    input  wire                        clk,
    input  wire                        rst,
    input  wire                        group_written,  // the line_buffer has one more group
    output wire                        sweep_done,
    output wire [FREE_WIDTH-1:0]       freed,          // rows that nobody needs after this sweep
    output wire                        read,
    output wire [BANKS*ADDR_WIDTH-1:0] read_addr,
    input  wire [BANKS*GROUP_BITS-1:0] read_data,      // 2 clocks after the address
    input  wire                        room,           // the window_register takes a column more
    output wire                        column_done,    // this read is the last of its column
    output wire [UNIT_BITS-1:0]        unit            // a column, or a row of it
);

    localparam BANK_WIDTH = (BANKS > 1) ? $clog2(BANKS) : 1;
    localparam COLUMNS    = (SWEEP < GROUPS) ? SWEEP : GROUPS;  // that are in the image
    localparam COL_WIDTH  = (GROUPS > 1 || SWEEP > 1) ? $clog2((GROUPS > SWEEP) ? GROUPS : SWEEP)
                                                      : 1;
    localparam LEAD_WIDTH = $clog2(ROWS*GROUPS + 1) + 1;  // signed

    localparam [GROUP_BITS-1:0] PAD = {GROUP_BITS/8{PAD_CODE[7:0]}};

    localparam [COL_WIDTH-1:0] COL_LAST   = SWEEP[COL_WIDTH-1:0] - 1'b1;
    localparam [COL_WIDTH-1:0] IMAGE_LAST = GROUPS[COL_WIDTH-1:0] - 1'b1;

    wire [KERNEL-1:0]     in_image;
    wire [LEAD_WIDTH-1:0] back;
    wire                  image_next;

    sweep_table #(
        .HEIGHT(HEIGHT), .OUT_HEIGHT(OUT_HEIGHT), .KERNEL(KERNEL), .STRIDE(STRIDE),
        .PADDING(PADDING), .DILATION(DILATION), .GROUPS(GROUPS), .COLUMNS(COLUMNS),
        .FREE_WIDTH(FREE_WIDTH), .LEAD_WIDTH(LEAD_WIDTH)
    ) sweeps (
        .clk(clk), .rst(rst), .sweep_done(sweep_done),
        .in_image(in_image), .freed(freed), .back(back), .image_next(image_next)
    );

    // Groups written beyond the one that the next column needs. Its sign bit says that the group is
    // still missing. It stays as it is for columns right of the image, which need nothing.
    localparam SPAN    = (KERNEL - 1)*DILATION + 1;  // rows that a window covers
    localparam NEEDED  = (SPAN - PADDING < HEIGHT) ? SPAN - PADDING : HEIGHT;  // rows at first
    localparam MISSING = (NEEDED - 1)*GROUPS + 1;
    localparam [LEAD_WIDTH-1:0] LEAD_START = -MISSING[LEAD_WIDTH-1:0];

    reg  [LEAD_WIDTH-1:0] lead_reg = LEAD_START;
    reg  [COL_WIDTH-1:0]  col_reg  = 0;
    wire                  outside    = SWEEP > GROUPS && col_reg > IMAGE_LAST;
    wire                  image_last = SWEEP > GROUPS && (outside || col_reg == IMAGE_LAST);
    wire                  sweep_last = col_reg == COL_LAST;
    wire                  column_last;  // of the reads of a column
    wire [LEAD_WIDTH-1:0] step = sweep_last ? back
                               : image_last ? {LEAD_WIDTH{1'b0}} : {LEAD_WIDTH{1'b1}};

    assign read        = !lead_reg[LEAD_WIDTH-1] && room;
    assign column_done = read && column_last;
    assign sweep_done  = column_done && sweep_last;

    always @(posedge clk) begin
        lead_reg <= lead_reg + (column_done ? step : {LEAD_WIDTH{1'b0}})
                             + {{(LEAD_WIDTH-1){1'b0}}, group_written};
        if (column_done)
            col_reg <= sweep_last ? {COL_WIDTH{1'b0}} : col_reg + 1'b1;
        if (rst) begin
            lead_reg <= LEAD_START;
            col_reg  <= 0;
        end
    end

    wire [BANK_WIDTH-1:0] top_bank;

    bank_address #(
        .HEIGHT(HEIGHT), .OUT_HEIGHT(OUT_HEIGHT), .KERNEL(KERNEL), .STRIDE(STRIDE),
        .PADDING(PADDING), .DILATION(DILATION), .GROUPS(GROUPS), .ROWS(ROWS), .BANKS(BANKS),
        .ADDR_WIDTH(ADDR_WIDTH)
    ) address (
        .clk(clk), .rst(rst), .read(read), .column_last(column_last), .sweep_last(sweep_last),
        .image_next(image_next), .read_addr(read_addr), .top_bank(top_bank)
    );

    genvar row;
    generate
        if (BANKS == 1) begin : gen_row_by_row
            localparam ROW_WIDTH = (KERNEL > 1) ? $clog2(KERNEL) : 1;
            localparam [ROW_WIDTH-1:0] ROW_LAST = KERNEL[ROW_WIDTH-1:0] - 1'b1;

            reg [ROW_WIDTH-1:0] row_reg = 0;
            reg                 inside_reg, mask_reg;
            wire                unused = &{1'b0, top_bank};

            assign column_last = row_reg == ROW_LAST;
            assign unit        = mask_reg ? read_data : PAD;

            always @(posedge clk) begin
                if (read)
                    row_reg <= column_last ? {ROW_WIDTH{1'b0}} : row_reg + 1'b1;
                inside_reg <= in_image[row_reg] && !outside;
                mask_reg   <= inside_reg;
                if (rst)
                    row_reg <= 0;
            end
        end else begin : gen_side_by_side
            reg [BANK_WIDTH-1:0] bank_reg;
            reg [KERNEL-1:0]     inside_reg;

            assign column_last = 1'b1;

            always @(posedge clk) begin
                bank_reg   <= top_bank;
                inside_reg <= outside ? {KERNEL{1'b0}} : in_image;
            end

            // Row `row` of the window is in bank (top bank + row*DILATION) mod BANKS. One bit for
            // each top bank selects it, none where the row is outside the image.
            for (row = 0; row < KERNEL; row = row + 1) begin : gen_row
                reg [BANKS-1:0]      select_reg;
                reg                  outside_reg;
                reg [GROUP_BITS-1:0] selected;
                integer i;
                always @(posedge clk) begin
                    outside_reg <= !inside_reg[row];
                    for (i = 0; i < BANKS; i = i + 1)
                        select_reg[i] <= inside_reg[row]
                            && {{(32-BANK_WIDTH){1'b0}}, bank_reg} == i;
                end
                always @* begin
                    selected = {GROUP_BITS{outside_reg}} & PAD;
                    for (i = 0; i < BANKS; i = i + 1)
                        selected = selected
                            | ({GROUP_BITS{select_reg[i]}}
                               & read_data[((row*DILATION + i) % BANKS)*GROUP_BITS +: GROUP_BITS]);
                end
                assign unit[row*GROUP_BITS +: GROUP_BITS] = selected;
            end
        end
    endgenerate

endmodule

`default_nettype wire
